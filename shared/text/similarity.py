"""Lexical likeness of short texts: character n-grams and word stems over an inverted index of bounded cost.

Deterministic: the same additions in the same order give the same answers. The cost of one search has a fixed upper
bound: only rare features are followed, postings are capped, and a fixed number of candidates is scored in full.
"""

import heapq
import re
import sys
from collections import Counter
from dataclasses import dataclass
from math import log, sqrt
from typing import Generic, TypeVar

Key = TypeVar("Key")

MAX_FEATURES = 96
MAX_POSTING = 400
FOLLOWED_FEATURES = 16
SCORED_CANDIDATES = 24
_STEM_LENGTH = 5
_GRAM_LENGTH = 4
_ASSUMED_TEXTS = 50
"""Texts assumed beside the known ones, so that the first few do not make every word look common."""

_WORD = re.compile(r"[^\W\d_]+")
_FUNCTION_WORDS = frozenset(
    """
    aber alle allem allen aller alles also auch auf aufs aus bei beim bereits bin bis bist bitte damit dann das dass
    davon dem den denn der des die dies diese diesem diesen dieser dieses doch dort durch eine einem einen einer eines
    einfach entweder erst etwas euch für ganz gar gegen geht gibt haben habe hab hat hatte heute hier ich ihm ihn ihnen
    ihr ihre ihrem ihren ihrer immer jede jedem jeden jeder jedes jetzt kann kein keine keinen könnte können lässt
    mal man mehr mein meine meinem meinen meiner mich mir mit muss müssen nach nicht nichts noch nur oder ohne schon
    sehr seit sein seine sich sie sind soll sollte sondern steht trotzdem über und uns unser unsere vom von vor wann
    war waren warum was weil wenn werde werden wieder wie wird wirklich wurde wurden zum zur zwei zwischen
    about after again all also and any are because been before being but can cannot could did does doesn each every for
    from had has have here how into its just like more most much need never not now only other our out over please
    since some still than that the their them then there these they this too until very want was were what when where
    which while who why will with would you your
    ama artık bana beni benim bile bir biraz böyle bunu bunun çok daha değil diye gibi hala hâlâ hep her hiç için ile
    kadar nasıl neden olan olarak oldu olur onlar sadece sonra şey şimdi üç var veya yine yok zaman
    إلى أن أنا الذي التي بعد بل ثم حتى دون عن على عند عندما غير في قبل كان كانت كل كما لا لم لن ليس ما مع من منذ هذا
    هذه هل هنا هناك هو هي وقد ولا ولكن وهو يكون لكن
    або але без був була були вже від для його коли має мене мені може навіть нас немає ніж при про себе собі так там
    теж тільки треба тут хоча через чому щоб який яка яке якщо
    без был была были быть вам вас ведь все всё где даже для его если есть еще ещё или как когда который меня мне может
    надо нас нет них них ничего один она они опять очень под после потом почему при раз сейчас так там тоже только уже
    хотя чего через что чтобы это этот
    """.split()  # noqa: SIM905 - a list of quoted words would fill pages
)


@dataclass(frozen=True, slots=True)
class TextFeatures:
    """What is compared of one text. ``words`` maps each stem to the word it came from, for explanations."""

    features: frozenset[str]
    words: dict[str, str]


@dataclass(frozen=True, slots=True)
class Neighbour(Generic[Key]):
    """A known text like the one asked about; ``score`` from 0 to 1, ``terms`` the shared words."""

    key: Key
    score: float
    terms: tuple[str, ...]


def features_of(text: str) -> TextFeatures:
    """Stems and character 4-grams of the content words of ``text``; at most ``MAX_FEATURES``, the first words first."""
    grams: dict[str, None] = {}
    words: dict[str, str] = {}
    for word in _WORD.findall(text.casefold()):
        if len(word) < 3 or word in _FUNCTION_WORDS:
            continue
        stem = "=" + word[:_STEM_LENGTH]
        words.setdefault(stem, word)
        grams[stem] = None
        if len(word) > _GRAM_LENGTH:
            for start in range(len(word) - _GRAM_LENGTH + 1):
                grams[word[start : start + _GRAM_LENGTH]] = None
        if len(grams) >= MAX_FEATURES:
            break
    # Interned: thousands of texts share their features, and each text would otherwise hold copies of its own.
    return TextFeatures(frozenset(sys.intern(gram) for gram in list(grams)[:MAX_FEATURES]), words)


@dataclass(slots=True)
class _Entry(Generic[Key]):
    key: Key
    text: TextFeatures
    weight: float = 0.0
    weighed_among: int = 0
    """How many texts there were when ``weight`` was computed; 0: never."""


class SimilarityIndex(Generic[Key]):
    """Known texts by their features. Not safe for use from several threads."""

    def __init__(self) -> None:
        self._slots: dict[Key, int] = {}
        self._entries: dict[int, _Entry[Key]] = {}
        self._postings: dict[str, dict[int, None]] = {}
        self._frequency: dict[str, int] = {}
        self._next_slot = 0

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, key: Key) -> bool:
        return key in self._slots

    def add(self, key: Key, text: TextFeatures) -> None:
        """Makes ``text`` findable under ``key``; an earlier text of the key is replaced."""
        self.discard(key)
        slot = self._next_slot
        self._next_slot += 1
        self._slots[key] = slot
        self._entries[slot] = _Entry(key, text)
        for feature in text.features:
            self._frequency[feature] = self._frequency.get(feature, 0) + 1
            posting = self._postings.setdefault(feature, {})
            # A feature that so many texts share tells nothing apart; it keeps its frequency and takes no more texts.
            if len(posting) < MAX_POSTING:
                posting[slot] = None

    def discard(self, key: Key) -> None:
        """Forgets ``key``; unknown keys are fine."""
        slot = self._slots.pop(key, None)
        if slot is None:
            return
        for feature in self._entries.pop(slot).text.features:
            self._postings[feature].pop(slot, None)
            self._frequency[feature] -= 1
            if not self._frequency[feature]:
                del self._frequency[feature]
                del self._postings[feature]

    def nearest(
        self, text: TextFeatures, limit: int = 3, also: "SimilarityIndex[Key] | None" = None
    ) -> list[Neighbour[Key]]:
        """The ``limit`` most alike known texts, best first; ties by the order of addition.

        ``also`` is searched beside this one with this one's weights: texts of a transaction not committed yet.
        """
        weights = {feature: self._weight(feature) for feature in text.features}
        found = self._scored(self, text, weights)
        if also is not None and len(also):
            found += self._scored(also, text, weights)
        found.sort(key=lambda scored: (-scored[0], scored[1]))
        return [
            Neighbour(entry.key, min(1.0, score), _shared_words(text, entry.text)) for score, _, entry in found[:limit]
        ]

    def _scored(
        self, index: "SimilarityIndex[Key]", text: TextFeatures, weights: dict[str, float]
    ) -> list[tuple[float, int, _Entry[Key]]]:
        own = sum(weights.values())
        found = []
        for slot in index._candidates(text):
            entry = index._entries[slot]
            shared = sum(weights[feature] for feature in text.features & entry.text.features)
            found.append((shared / sqrt(own * self._entry_weight(entry)), slot, entry))
        return found

    def _candidates(self, text: TextFeatures) -> list[int]:
        """Texts that share the rarest features: only these are followed, and only so many are scored in full."""
        frequency = self._frequency
        present = [feature for feature in text.features if feature in frequency]
        present.sort(key=lambda feature: (frequency[feature], feature))
        hits: Counter[int] = Counter()
        for feature in present[:FOLLOWED_FEATURES]:
            hits.update(self._postings[feature].keys())
        return heapq.nlargest(SCORED_CANDIDATES, hits, key=hits.__getitem__)

    def _entry_weight(self, entry: _Entry[Key]) -> float:
        """The weight of a known text. Frequencies drift slowly: it is computed anew after growth by half."""
        texts = len(self._entries) + _ASSUMED_TEXTS
        if not entry.weighed_among or not 2 * entry.weighed_among <= 3 * texts <= 4.5 * entry.weighed_among:
            entry.weight = sum(self._weight(feature) for feature in entry.text.features)
            entry.weighed_among = texts
        return entry.weight

    def _weight(self, feature: str) -> float:
        texts = len(self._entries) + _ASSUMED_TEXTS
        return log(1.0 + texts / (1.0 + self._frequency.get(feature, 0)))


def _shared_words(text: TextFeatures, other: TextFeatures) -> tuple[str, ...]:
    return tuple(sorted(word for stem, word in text.words.items() if stem in other.words))
