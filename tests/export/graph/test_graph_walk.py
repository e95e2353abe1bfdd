"""Traversal and pruning of graphs."""

import tensorflow as tf

from object_detection_mtl.export.graph import graph_walk


def definition():
    """Return a -> sum <- b, sum -> twice; `other` reads b and has control inputs a and c."""
    graph = tf.compat.v1.GraphDef()
    for name, inputs in [
        ("twice", ["sum:0", "sum"]),
        ("other", ["b", "^a", "^c"]),
        ("sum", ["a", "b:1"]),
        ("a", []),
        ("b", []),
        ("c", []),
    ]:
        graph.node.add(name=name, op="Const" if name == "c" else "Any", input=inputs)
    graph.versions.producer = 7
    return graph


def test_producer_name():
    assert [graph_walk.producer_name(name) for name in ("a", "a:2", "^a")] == ["a", "a", "a"]


def test_topological_order():
    nodes = {node.name: node for node in definition().node}
    places = {node.name: place for place, node in enumerate(graph_walk.topological_order(nodes))}
    assert places.keys() == nodes.keys()
    for node in nodes.values():
        for name in node.input:
            assert places[graph_walk.producer_name(name)] < places[node.name]


def test_prune_graph():
    assert [n.name for n in graph_walk.prune_graph(definition(), ["sum:0"]).node] == [
        "sum",
        "a",
        "b",
    ]
    assert [n.name for n in graph_walk.prune_graph(definition(), ["other:0"]).node] == [
        "other",
        "a",
        "b",
    ]
    [other, *_] = graph_walk.prune_graph(definition(), ["other:0"]).node
    assert list(other.input) == ["b", "^a"]  # a control input of a constant is dropped
    assert graph_walk.prune_graph(definition(), []).versions.producer == 7
