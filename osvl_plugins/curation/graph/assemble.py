"""Parts to a graph: names are joined in one pass over the parts, links are resolved in a second.

Memory holds what is proportional to articles, redirects and labelled edges, never the hyperlinks or the texts.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from osvl_plugins.curation.graph.anchors import AnchorBuckets
from osvl_plugins.curation.graph.edges import FactWriter, LinkWriter
from osvl_plugins.curation.graph.files import RELATIONS, VERSION, Manifest, Origin, content_hash
from osvl_plugins.curation.graph.nodes import NodeWriter
from osvl_plugins.curation.graph.part import Part
from osvl_plugins.curation.graph.relink import LinkTables
from osvl_plugins.curation.graph.tables import ImageSizes


def assemble(
    parts: Sequence[Path],
    out: Path,
    scratch: Path,
    origin: Origin,
    links: LinkTables | None = None,
    images: ImageSizes | None = None,
) -> Manifest:
    """Write the graph of ``parts``, whose articles are the nodes in that order, to the empty folder ``out``.

    The parts are removed as they are read for the last time. ``scratch`` takes temporary files. ``links``: the wiki's
    own tables, which then say what links to what. ``images``: sizes of pictures by name.

    Raises ``CorpusError`` when there are no articles, or two share an id.
    """
    rejects: Counter[str] = Counter()
    nodes, anchors = NodeWriter(out), AnchorBuckets(scratch)
    for file in parts:
        part = Part.load(file)
        nodes.add(part)
        anchors.add(part.anchors, part.anchor_hashes)
        rejects.update(part.rejects.texts())
    names, dropped = nodes.finish(images)
    link_writer, fact_writer = LinkWriter(out, names, anchors.write(out)), FactWriter(out, names)
    first = 0
    for file in parts:
        part = Part.load(file)
        link_writer.add(part, first)
        fact_writer.add(part, first)
        first += len(part.flags)
        # They are as large as the graph.
        file.unlink()
    edges = link_writer.finish()
    relations, facts = fact_writer.finish()
    if links is not None:
        edges = links.replace(out, names, scratch)
    (out / RELATIONS).write_text(json.dumps(relations, ensure_ascii=False), encoding="utf-8")
    manifest = Manifest(
        version=VERSION,
        origin=origin,
        nodes=names.titles,
        edges=edges,
        facts=facts,
        aliases=len(names.alias_nodes),
        fingerprint=content_hash(out),
        rejects=dict(sorted(rejects.items())),
        dropped={**dropped, **link_writer.dropped, **fact_writer.dropped},
    )
    manifest.write(out)
    return manifest
