"""Comparison of a baseline and the same model with tasks."""

import pytest

from benchmarks import pairs, profiles


def test_overhead_is_what_the_products_do_not_explain():
    seconds = {
        "baseline": [0.1, 0.2, 0.1],
        "with tasks": [0.33, 0.66, 0.36],
        "products of baseline": [0.1, 0.1, 0.1],
        "products of with tasks": [0.3, 0.3, 0.3],
    }
    found = pairs.summary(seconds)
    assert found["with tasks"] == pytest.approx(360)  # milliseconds, the median
    # Of turns, not of medians: a machine that slows down slows both models of a turn.
    assert found["ratio"] == pytest.approx(3.3)
    assert found["ratio of products"] == pytest.approx(3.0)
    assert found["overhead"] == pytest.approx(1.1)


def test_products_by_the_names_of_either_engine():
    milliseconds = {
        "Convolution": 1.0,
        "FullyConnected": 2.0,
        "Conv": 4.0,
        "Gemm": 8.0,
        "Add": 16.0,
    }
    assert profiles.of_products(milliseconds) == 15.0
