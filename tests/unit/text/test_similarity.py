"""Lexical likeness: bounded, deterministic, explained."""

from shared.text.similarity import MAX_POSTING, SimilarityIndex, features_of

TEXTS = [
    "Dokumente hochladen scheitert überall",
    "Das Telefon klingelt ins Leere",
    "Auszahlung kam zwei Wochen zu spät",
    "Belge yükleme sayfası açılmıyor",
]


def filled() -> SimilarityIndex[int]:
    """An index of all texts."""
    index: SimilarityIndex[int] = SimilarityIndex()
    for key, text in enumerate(TEXTS):
        index.add(key, features_of(text))
    return index


def test_the_nearest_is_found_and_explained() -> None:
    """An inflected text finds its like first, with the words they share; an unrelated one finds nothing near."""
    best = filled().nearest(features_of("Dokument hochgeladen? Hochladen scheitert bei mir"))[0]
    assert best.key == 0 and best.score > 0.4 and set(best.terms) >= {"hochladen", "scheitert"}
    assert not filled().nearest(features_of("Schöner Garten vor dem Haus"))
    assert filled().nearest(features_of("belge yüklenmiyor"))[0].key == 3


def test_equal_texts_score_one_and_empty_ones_nothing() -> None:
    """Likeness is 1 for the same text and undefined for words without content."""
    assert filled().nearest(features_of(TEXTS[2]))[0].score > 0.999
    assert filled().nearest(features_of("und der die das")) == []


def test_a_forgotten_text_is_not_found() -> None:
    """After ``discard`` the index is as if the text had never been there."""
    index = filled()
    before = index.nearest(features_of(TEXTS[0]))
    index.add(9, features_of("Dokumente hochladen scheitert"))
    index.discard(9)
    index.discard(9)
    assert 9 not in index and index.nearest(features_of(TEXTS[0])) == before


def test_texts_of_an_open_transaction_are_searched_too() -> None:
    """``also`` adds candidates without changing the index."""
    index, own = filled(), SimilarityIndex[int]()
    own.add(9, features_of("Aufzug steckt fest"))
    assert index.nearest(features_of("Aufzug steckt schon wieder fest"), also=own)[0].key == 9
    assert len(index) == len(TEXTS)


def test_the_same_additions_give_the_same_answers() -> None:
    """Two indexes filled alike answer alike, in order and score."""
    query = features_of("Telefon und Auszahlung und Dokumente")
    assert filled().nearest(query) == filled().nearest(query)


def test_a_common_word_costs_no_more_than_a_rare_one() -> None:
    """Postings are capped: a word in thousands of texts is followed for a bounded number of them."""
    index: SimilarityIndex[int] = SimilarityIndex()
    for key in range(5 * MAX_POSTING):
        index.add(key, features_of(f"Formular {chr(97 + key % 26) * 6}{key % 7}"))
    assert max(len(posting) for posting in index._postings.values()) == MAX_POSTING
    assert len(index.nearest(features_of("Formular"), limit=3)) == 3
