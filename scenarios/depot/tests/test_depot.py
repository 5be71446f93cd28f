from depot.report import report
from depot.stock import STOCK


def test_every_article_has_a_line():
    assert len(report().splitlines()) == len(STOCK)
