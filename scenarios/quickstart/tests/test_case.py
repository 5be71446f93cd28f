from wordkit import title_case


def test_small_words_stay_small():
    assert title_case("the lord of the rings") == "The Lord of the Rings"


def test_nothing_stays_nothing():
    assert title_case("") == ""
