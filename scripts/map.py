"""Draw the map of the project: docs/map.svg.

Usage: python scripts/map.py [--write | --check]

Each wing is a box with its rooms (files) in it. An arrow means that something in a wing imports or
includes something in another; lines to the same wing join. What a wing may enter lies below it, so
every arrow points down. The tables here say what lies below what. An import or include against them
and a circle are reported, with exit code 1; against the tables an arrow is dashed and red.

With --check nothing is written, and the exit code is also 1 if docs/map.svg is out of date.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Mapping
from html import escape
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "fastwsgi"
CSRC = ROOT / "csrc"
PICTURE = ROOT / "docs" / "map.svg"

# Each wing of the package, and the wings that it may enter.
WINGS: dict[str, set[str]] = {
    "errors": set(),
    "_version": set(),
    "_core": set(),
    "demo": {"_version"},
    "system": {"errors"},
    "logs": {"errors", "system"},
    "config": {"errors", "logs", "system"},
    "strict": {"logs", "_core"},
    "tls": {"_core", "config", "errors", "logs", "system"},
    "worker": {"_core", "_version", "config", "errors", "logs", "strict", "system", "tls"},
    "control": {"errors", "system"},
    "metrics": {"_version", "config", "system", "worker"},
    "master": {"_version", "config", "control", "errors", "logs", "metrics", "system", "tls",
               "worker"},
    "compat": {"config", "errors"},
    "commandline": {"_core", "_version", "config", "errors", "tls"},
    "server": {"_version", "config", "errors", "logs", "master", "metrics", "system", "tls",
               "worker"},
    "cli": {"_version", "commandline", "compat", "config", "control", "errors", "master",
            "server", "tls", "worker"},
    "testing": {"_core", "config", "errors", "logs", "server", "system", "worker"},
    "frameworks": {"_core", "cli", "config", "errors", "logs", "system", "testing", "worker"},
    "management": {"frameworks"},
    "__main__": {"cli"},
    "__init__": {"_version", "config", "server"},
}

# The wings of csrc from the lowest to the highest: each may include those before it.
C_WINGS = ("fw", "system", "http", "tls", "observe", "io", "threads")

Graph = dict[str, set[str]]


# ---- Python ----


def room_of(path: Path) -> str:
    """``worker.process`` for fastwsgi/worker/process.py; a wing's __init__ goes by its name."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


ROOMS = {room_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def wing(room: str) -> str:
    """The wing of a room."""
    return room.split(".")[0]


def rooms_entered(path: Path) -> set[str]:
    """The rooms of ours that a Python file imports, wherever in the file it does so."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path.name}: relative import"
            base = str(node.module)
            names = [full if (full := f"{base}.{alias.name}").removeprefix("fastwsgi.") in ROOMS
                     else base for alias in node.names]  # fmt: skip
        else:
            continue
        found |= {name.removeprefix("fastwsgi.") for name in names if name.startswith("fastwsgi.")}
    return found


def imports() -> Graph:
    """Each room of the package and the rooms that it imports; Cython's are those of ``_core``."""
    found = {room: rooms_entered(path) for room, path in ROOMS.items()}
    pattern = re.compile(r"^\s*(?:from|c?import)\s+fastwsgi\.(?!_core\b)([\w.]+)", re.MULTILINE)
    for path in sorted((PACKAGE / "_core").glob("*.p[yx][xdi]")):
        if path.suffix != ".pyi":
            room = f"_core.{path.stem}"
            found.setdefault(room, set()).update(pattern.findall(path.read_text("utf-8")))
    return found


# ---- C ----


def c_wing(file: str) -> str:
    """The wing of a file of csrc: its folder, or ``fw`` for fw.h."""
    return file.split("/")[0].removesuffix(".h")


def includes() -> Graph:
    """Each file of csrc and the files of csrc that it includes, by their paths below csrc."""
    pattern = re.compile(r'^\s*#\s*include\s+"([^"]+)"', re.MULTILINE)
    found = {}
    for path in sorted(CSRC.rglob("*.[ch]")):
        names = pattern.findall(path.read_text("utf-8"))
        found[path.relative_to(CSRC).as_posix()] = {
            name if (CSRC / name).exists() else (path.parent / name).relative_to(CSRC).as_posix()
            for name in names
        }
    return found


def headers_of_the_core() -> set[str]:
    """The headers of csrc that the Cython sources declare."""
    pattern = re.compile(r'^cdef extern from "([^"]+)"', re.MULTILINE)
    found: set[str] = set()
    for path in sorted((PACKAGE / "_core").glob("*.p[yx][xdi]")):
        found.update(pattern.findall(path.read_text("utf-8")))
    return {name for name in found if (CSRC / name).exists()}


# ---- what is wrong ----


def circle(graph: Mapping[str, Iterable[str]]) -> list[str]:
    """The nodes that are on a circle, or lead to one; none if there is no circle."""
    remaining = set(graph)
    while remaining:
        free = {node for node in remaining if set(graph[node]) & remaining <= {node}}
        if not free:
            return sorted(remaining)
        remaining -= free
    return []


def complaints_about_python() -> list[str]:
    """The imports that go up, and circles."""
    rooms = imports()
    found = [
        f"fastwsgi: {room} imports {other}: WINGS does not let {wing(room)} enter {wing(other)}"
        for room, others in rooms.items()
        for other in sorted(others)
        if wing(other) != wing(room) and wing(other) not in WINGS.get(wing(room), ())
    ]
    found += [f"fastwsgi: a circle of wings among {', '.join(names)}"
              for names in [circle(WINGS)] if names]  # fmt: skip
    found += [f"fastwsgi: a circle of imports among {', '.join(names)}"
              for names in [circle(rooms)] if names]  # fmt: skip
    return found


def complaints_about_c() -> list[str]:
    """The includes that go up, and circles."""
    files = includes()
    found = [
        f"csrc: {file} includes {other}: {c_wing(file)} is below {c_wing(other)}"
        for file, others in files.items()
        for other in sorted(others)
        if C_WINGS.index(c_wing(other)) > C_WINGS.index(c_wing(file))
    ]
    found += [f"csrc: a circle of includes among {', '.join(names)}"
              for names in [circle(files)] if names]  # fmt: skip
    return found


# ---- the picture: what is in it ----

Edges = dict[tuple[str, str], list[str]]


def wings_and_edges() -> tuple[dict[str, list[str]], dict[str, int], Edges]:
    """Each wing with its rooms, its layer (0 is the lowest), and the arrows with their causes.

    C's wings are called ``csrc/...`` and lie below Python's.
    """
    rooms: dict[str, list[str]] = {f"csrc/{name}": [] for name in C_WINGS}
    rooms |= {name: [] for name in WINGS}
    layers = {f"csrc/{name}": place for place, name in enumerate(C_WINGS)}

    def layer(name: str) -> int:
        if name not in layers:
            layers[name] = max((layer(other) + 1 for other in WINGS[name]), default=len(C_WINGS))
        return layers[name]

    for name in WINGS:
        layer(name)
    edges: Edges = {}

    def enter(source: str, target: str, cause: str) -> None:
        if source != target:
            edges.setdefault((source, target), []).append(cause)

    for room, others in imports().items():
        if "." in room:
            rooms[wing(room)].append(room.partition(".")[2])
        for other in sorted(others):
            enter(wing(room), wing(other), f"{room} imports {other}")
    for file, others in includes().items():
        if "/" in file and (stem := Path(file).stem) not in rooms[f"csrc/{c_wing(file)}"]:
            rooms[f"csrc/{c_wing(file)}"].append(stem)
        for other in sorted(others):
            enter(f"csrc/{c_wing(file)}", f"csrc/{c_wing(other)}", f"{file} includes {other}")
    for header in sorted(headers_of_the_core()):
        enter("_core", f"csrc/{c_wing(header)}", f"_core declares {header}")
    return {name: sorted(set(found)) for name, found in rooms.items()}, layers, edges


# ---- the picture: where everything is ----

CHARACTER, ROW, PADDING, WIDEST = 7.4, 20, 10, 350
GAP, FLOOR_GAP, LANE = 26, 54, 12


class Node:
    """A box, or with an empty name a place where a line passes a layer on its way to ``target``."""

    def __init__(self, name: str, rooms: list[str], target: str = "") -> None:
        self.name = name
        self.target = target
        self.lines = list(flow(rooms))
        self.title = f"{name}/" if rooms else name
        widest = max([len(self.title) + 2, *(len("  ".join(line)) for line in self.lines)])
        self.width = round(widest * CHARACTER) + 2 * PADDING if name else LANE
        self.height = (1 + len(self.lines)) * ROW + PADDING if name else 0
        self.x = 0.0  # of its middle
        self.y = 0.0  # of its top


def flow(rooms: list[str]) -> Iterable[list[str]]:
    """Break rooms into lines."""
    line: list[str] = []
    for room in rooms:
        if line and len("  ".join([*line, room])) * CHARACTER > WIDEST:
            yield line
            line = []
        line.append(room)
    if line:
        yield line


class Plan:
    """Boxes in layers, and the steps from layer to layer that the lines are made of."""

    def __init__(self) -> None:
        rooms, layers, self.edges = wings_and_edges()
        self.layers = layers
        self.boxes = {name: Node(name, found) for name, found in rooms.items()}
        self.rows: list[list[Node]] = [[] for _ in range(max(layers.values()) + 1)]
        for name, box in self.boxes.items():
            self.rows[layers[name]].append(box)
        # each wing that is entered has one line, which all that enter it join
        self.steps: list[tuple[Node, Node, list[str]]] = []
        down = [edge for edge in self.edges if layers[edge[0]] > layers[edge[1]]]
        for target in self.boxes:
            sources = [source for source, entered in down if entered == target]
            stops = {layers[target]: self.boxes[target]}
            for place in range(layers[target] + 1, max(map(layers.get, sources), default=0)):
                stops[place] = Node("", [], target)
                self.rows[place].append(stops[place])
                self.steps.append((stops[place], stops[place - 1], []))
            for source in sources:
                self.steps.append((self.boxes[source], stops[layers[source] - 1],
                                   self.edges[source, target]))  # fmt: skip
        self.neighbours: dict[Node, list[Node]] = {}
        for upper, lower, _ in self.steps:
            self.neighbours.setdefault(upper, []).append(lower)
            self.neighbours.setdefault(lower, []).append(upper)
        self.arrange()

    def arrange(self) -> None:
        """Place every node: in the order of its neighbours, then as near to them as fits."""
        for row in self.rows:
            self.pack(row)
        for turn in range(40):
            for row in self.rows if turn % 2 else reversed(self.rows):
                wish = {node: self.middle(node) for node in row}
                if turn < 30:
                    row.sort(key=lambda node: (round(wish[node]), node.name, node.target))
                self.pack(row, wish)
        left = min(node.x - node.width / 2 for row in self.rows for node in row)
        y = float(GAP)
        for row in reversed(self.rows):
            height = max(node.height for node in row)
            for node in row:
                node.x += GAP - left
                node.y = y + (height - node.height) / 2 if node.name else y
                node.height = node.height or height
            y += height + FLOOR_GAP
        self.width = max(node.x + node.width / 2 for row in self.rows for node in row) + GAP
        self.height = y - FLOOR_GAP + GAP

    def middle(self, node: Node) -> float:
        near = self.neighbours.get(node, [node])
        return sum(other.x for other in near) / len(near)

    def pack(self, row: list[Node], wish: Mapping[Node, float] | None = None) -> None:
        """Put a row side by side in its order, each as near to its wish as the others allow."""
        offset = 0.0
        # each has the place where it begins, and its nodes with their offsets from there
        blocks: list[tuple[float, list[tuple[Node, float]]]] = []
        for place, node in enumerate(row):
            if place:
                offset += (row[place - 1].width + node.width) / 2 + GAP
            start, nodes = (wish[node] if wish else 0.0) - offset, [(node, offset)]
            while blocks and blocks[-1][0] > start:  # these would overlap: they move as one
                other, before = blocks.pop()
                start = (start * len(nodes) + other * len(before)) / (len(nodes) + len(before))
                nodes = before + nodes
            blocks.append((start, nodes))
        for start, nodes in blocks:
            for node, at in nodes:
                node.x = start + at


# ---- the picture: ink ----

STYLE = """\
text { font: 12px ui-monospace, Menlo, Consolas, monospace; fill: #24292f }
.wing { font-weight: bold }
rect { fill: #ffffff; stroke: #57606a; rx: 6px }
.c rect { fill: #f3f6f9 }
path { fill: none; stroke-width: 1.6px }
.up { stroke: #d1242f; stroke-dasharray: 5 4; stroke-width: 2px }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3 }
  rect { fill: #161b22; stroke: #8b949e }
  .c rect { fill: #1f2630 }
}"""

# one for each wing that is entered, in turn; all can be seen on white and on black
COLOURS = ("#4c8dd6", "#d9822b", "#3a9e6f", "#b06ad4", "#8a8f98", "#c75c7a", "#2fa3a8", "#9a8a2c")


def ports(plan: Plan) -> dict[tuple[Node, Node], tuple[float, float]]:
    """Where each step leaves its upper node and enters its lower one."""
    found: dict[tuple[Node, Node], list[float]] = {}
    for end in (0, 1):
        groups: dict[Node, list[tuple[Node, Node]]] = {}
        for step in plan.steps:
            groups.setdefault(step[end], []).append((step[0], step[1]))
        for node, steps in groups.items():
            steps.sort(key=lambda step: step[1 - end].x)
            room = min(node.width - 2 * PADDING, 14.0 * (len(steps) - 1)) if node.name else 0.0
            for place, step in enumerate(steps):
                share = place / (len(steps) - 1) - 0.5 if len(steps) > 1 else 0.0
                found.setdefault(step, []).append(node.x + room * share)
    return {step: (xs[0], xs[1]) for step, xs in found.items()}


def draw() -> str:
    """The picture as it should be now."""
    plan = Plan()
    names = sorted({lower.name or lower.target for _, lower, _ in plan.steps})
    colour = {name: COLOURS[place % len(COLOURS)] for place, name in enumerate(names)}
    size = f"{plan.width:.0f} {plan.height:.0f}"
    out = [
        "<!-- Made by `make map` from the imports and includes; do not edit. -->",
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {size}" role="img"',
        '  aria-label="The wings of fastwsgi and of csrc; arrows show imports and includes">',
        "<style>", STYLE, "</style>", "<defs>",
    ]  # fmt: skip
    for number, ink in enumerate((*COLOURS, "#d1242f")):
        out.append(f'<marker id="a{number}" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
                   f'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" style="fill:{ink}"/>'
                   "</marker>")  # fmt: skip
    out.append("</defs>")
    where = ports(plan)
    for row in plan.rows:
        for node in row:
            if not node.name:
                out.append(f'<path stroke="{colour[node.target]}" '
                           f'd="M{node.x:.0f} {node.y:.0f}V{node.y + node.height:.0f}"/>')
    for upper, lower, causes in plan.steps:
        goal = lower.name or lower.target
        x, to_x = where[upper, lower]
        y, to_y = upper.y + upper.height, lower.y
        bend = (to_y - y) / 2
        tip = f' marker-end="url(#a{COLOURS.index(colour[goal])})"' if lower.name else ""
        title = f"<title>{escape(chr(10).join(causes))}</title>" if causes else ""
        out.append(f'<path stroke="{colour[goal]}"{tip} d="M{x:.0f} {y:.0f}C{x:.0f} {y + bend:.0f} '
                   f'{to_x:.0f} {to_y - bend:.0f} {to_x:.0f} {to_y:.0f}">{title}</path>')
    for (source, target), causes in plan.edges.items():
        if plan.layers[source] <= plan.layers[target]:
            one, other = plan.boxes[source], plan.boxes[target]
            out.append(f'<path class="up" marker-end="url(#a{len(COLOURS)})" d="M{one.x:.0f} '
                       f'{one.y:.0f}L{other.x:.0f} {other.y + other.height:.0f}">'
                       f"<title>{escape(chr(10).join(causes))}</title></path>")
    for name, box in plan.boxes.items():
        x = box.x - box.width / 2
        out.append('<g class="c">' if name.startswith("csrc/") else "<g>")
        out.append(f'<rect x="{x:.0f}" y="{box.y:.0f}" width="{box.width}" '
                   f'height="{box.height}"/>')
        out.append(f'<text class="wing" x="{x + PADDING:.0f}" y="{box.y + 18:.0f}">'
                   f"{escape(box.title)}</text>")
        for place, line in enumerate(box.lines, 1):
            out.append(f'<text x="{x + PADDING:.0f}" y="{box.y + 18 + place * ROW:.0f}" '
                       f'xml:space="preserve">{escape("  ".join(line))}</text>')
        out.append("</g>")
    return "\n".join([*out, "</svg>", ""])


def main(word: str) -> int:
    """Draw, or look whether the picture is the one that would be drawn."""
    homeless = sorted({wing(room) for room in ROOMS} - set(WINGS))
    homeless += sorted({c_wing(file) for file in includes()} - set(C_WINGS))
    if homeless or circle(WINGS):
        print(f"no wings, or wings in a circle, so there is no map: "
              f"{', '.join(homeless or circle(WINGS))}", file=sys.stderr)  # fmt: skip
        return 1
    wrong = complaints_about_python() + complaints_about_c()
    drawn = draw()
    if word == "--write":
        PICTURE.write_text(drawn, encoding="utf-8")
    elif not PICTURE.exists() or PICTURE.read_text("utf-8") != drawn:
        wrong.append("docs/map.svg is out of date: run make map")
    for text in wrong:
        print(text, file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    if sys.argv[1:] not in ([], ["--write"], ["--check"]):
        sys.exit(__doc__)
    sys.exit(main(*sys.argv[1:] or ["--write"]))
