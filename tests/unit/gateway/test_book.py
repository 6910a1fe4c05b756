"""book.py: counters that only grow, remembered."""

from pcg.drivers.counters import Count
from pcg.gateway.book import Book

DROPPED = ("interface", "up0", "rx_dropped")


def line(book: Book) -> dict:
    (found,) = book.view()
    return found


def noted(*readings: tuple[float, int]) -> Book:
    """(seconds, packets); wall clock is 1000 s ahead."""
    book = Book()
    for now, packets in readings:
        book.note([Count(*DROPPED, packets)], now, 1000 + now)
    return book


def test_what_was_there_before_we_looked_has_no_times():
    seen = line(noted((1.0, 7)))
    assert (seen["packets"], seen["first"], seen["last"], seen["rate"]) == (7, None, None, 0.0)


def test_growth_is_dated_and_has_a_rate():
    seen = line(noted((1.0, 7), (2.0, 7), (4.0, 17), (5.0, 18)))
    assert (seen["packets"], seen["first"], seen["last"], seen["rate"]) == (18, 1004, 1005, 1.0)


def test_a_rate_ends_when_the_growth_does():
    assert line(noted((1.0, 0), (2.0, 5)))["rate"] == 5.0
    assert line(noted((1.0, 0), (2.0, 5), (3.0, 5)))["rate"] == 0.0


def test_a_counter_that_begins_anew_goes_on():
    seen = line(noted((1.0, 100), (2.0, 3)))
    assert (seen["packets"], seen["rate"]) == (103, 3.0)


def test_two_readings_at_one_moment_do_no_harm():
    assert line(noted((1.0, 1), (1.0, 2)))["rate"] == 0.0


def test_it_says_what_it_means_and_what_to_do():
    seen = line(noted((1.0, 1)))
    assert seen["means"]
    assert seen["advice"]


def test_what_came_with_new_tables_is_growth():
    book = Book()
    book.note([], 1.0, 1001)
    book.note([Count("nftables", "input", "input_uplink", 4)], 2.0, 1002)
    seen = line(book)
    assert (seen["packets"], seen["first"], seen["last"], seen["rate"]) == (4, 1002, 1002, 4.0)


def test_an_interface_that_appears_may_have_a_history():
    book = Book()
    book.note([], 1.0, 1001)
    book.note([Count(*DROPPED, 4)], 2.0, 1002)
    assert (line(book)["packets"], line(book)["first"]) == (4, None)
