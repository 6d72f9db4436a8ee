"""Lexical likeness of short texts: character n-grams and word stems over an inverted index of bounded cost.

Deterministic: the same additions in the same order give the same answers. The cost of one search has a fixed upper
bound: only rare features are followed, postings are capped, and a fixed number of candidates is scored in full.
"""

import re
from collections import Counter
from collections.abc import Iterable
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
    return TextFeatures(frozenset(list(grams)[:MAX_FEATURES]), words)


class SimilarityIndex(Generic[Key]):
    """Known texts by their features. Not safe for use from several threads."""

    def __init__(self) -> None:
        self._features: dict[Key, TextFeatures] = {}
        self._postings: dict[str, dict[Key, None]] = {}
        self._frequency: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._features)

    def __contains__(self, key: Key) -> bool:
        return key in self._features

    def add(self, key: Key, text: TextFeatures) -> None:
        """Makes ``text`` findable under ``key``; an earlier text of the key is replaced."""
        if key in self._features:
            self.discard(key)
        self._features[key] = text
        for feature in text.features:
            self._frequency[feature] += 1
            posting = self._postings.setdefault(feature, {})
            # A feature that so many texts share tells nothing apart; it keeps its frequency and takes no more keys.
            if len(posting) < MAX_POSTING:
                posting[key] = None

    def discard(self, key: Key) -> None:
        """Forgets ``key``; unknown keys are fine."""
        text = self._features.pop(key, None)
        for feature in text.features if text else ():
            self._frequency[feature] -= 1
            self._postings[feature].pop(key, None)
            if self._frequency[feature] <= 0:
                del self._frequency[feature]
                del self._postings[feature]

    def nearest(
        self, text: TextFeatures, limit: int = 3, also: "SimilarityIndex[Key] | None" = None
    ) -> list[Neighbour[Key]]:
        """The ``limit`` most alike known texts, best first; ties by the order of addition.

        ``also`` is searched beside this one with this one's weights: texts of a transaction not committed yet.
        """
        found = self._scored(self, text)
        if also is not None and len(also):
            found += self._scored(also, text)
        found.sort(key=lambda neighbour: -neighbour.score)
        return found[:limit]

    def _scored(self, index: "SimilarityIndex[Key]", text: TextFeatures) -> list[Neighbour[Key]]:
        candidates = index._candidates(text)
        if not candidates:
            return []
        own_weight = self._weight(text.features)
        found = []
        for key in candidates:
            other = index._features[key]
            shared = text.features & other.features
            score = self._weight(shared) / sqrt(own_weight * self._weight(other.features))
            terms = tuple(sorted(text.words[feature] for feature in shared if feature in text.words))
            found.append(Neighbour(key, min(1.0, score), terms))
        return found

    def _candidates(self, text: TextFeatures) -> list[Key]:
        frequency = self._frequency
        present = [feature for feature in text.features if feature in self._postings]
        present.sort(key=lambda feature: (frequency[feature], feature))
        hits: Counter[Key] = Counter()
        for feature in present[:FOLLOWED_FEATURES]:
            hits.update(self._postings[feature].keys())
        return [key for key, _ in hits.most_common(SCORED_CANDIDATES)]

    def _weight(self, features: Iterable[str]) -> float:
        texts = len(self._features) + _ASSUMED_TEXTS
        frequency = self._frequency
        return sum(log(1.0 + texts / (1.0 + frequency.get(feature, 0))) for feature in features)
