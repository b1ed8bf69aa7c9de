# SPDX-License-Identifier: Apache-2.0
"""A report of run.py as a picture: how many times as much as ours the others take, on a logarithmic
scale, operation by operation. Plain SVG that reads on a light and on a dark page."""
import html
import math

import tables

ROWS = ("counter_add", "counter_add_2t", "span_record", "log_line", "log_line_2t", "metrics_1000",
        "spans", "logs", "broadcast", "http_live", "rss")
WIDTH, LEFT, RIGHT = 860, 330, 80
BAR, GAP, HEAD, TOP = 16, 4, 26, 64

STYLE = """
text { font: 13px system-ui, sans-serif; fill: #1f2328; }
.title { font-weight: 600; }
.faint { fill: #59636e; }
.page { fill: #ffffff; }
.more { fill: #2a6fb0; }
.less { fill: #b35900; }
.grid { stroke: #d1d9e0; }
.one { stroke: #1f2328; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .faint { fill: #9198a1; }
  .page { fill: #0d1117; }
  .more { fill: #58a6ff; }
  .less { fill: #e3934a; }
  .grid { stroke: #3d444d; }
  .one { stroke: #e6edf3; }
}
"""


def bars(report):
    """[(title with our value, [(label, ratio)])] of the rows that have peers."""
    groups = []
    for row in report["rows"]:
        peers = [(each["label"], each["ratio"]) for each in row["contenders"]
                 if each["role"] == "peer" and each["ratio"]]
        own = row["contenders"][0]["median"]
        if row["id"] in ROWS and peers and own is not None:
            groups.append((f"{row['title']}: {tables.number(own)} {row['unit']}", peers))
    return groups


def scale(groups):
    """From a ratio to a place, and the powers of ten that it reaches over."""
    ratios = [ratio for _, peers in groups for _, ratio in peers] + [1, 10]
    low, high = math.floor(math.log10(min(ratios))), math.ceil(math.log10(max(ratios)))
    step = (WIDTH - LEFT - RIGHT) / (high - low)
    return (lambda ratio: LEFT + (math.log10(ratio) - low) * step), range(low, high + 1)


def svg(report):
    groups = bars(report)
    place, powers = scale(groups)
    height = TOP + sum(HEAD + len(peers) * (BAR + GAP) for _, peers in groups) + 16
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
           f'viewBox="0 0 {WIDTH} {height}" role="img">',
           "<title>How many times as much as fwdscope others take</title>",
           f"<style>{STYLE}</style>",
           f'<rect class="page" width="{WIDTH}" height="{height}"/>',
           '<text class="title" x="12" y="22">What others take, in times fwdscope '
           '(logarithmic)</text>']
    for power in powers:
        x = place(10.0 ** power)
        out.append(f'<line class="{"one" if power == 0 else "grid"}" x1="{x:.1f}" y1="{TOP - 6}" '
                   f'x2="{x:.1f}" y2="{height - 10}"/>')
        out.append(f'<text class="faint" x="{x:.1f}" y="{TOP - 12}" text-anchor="middle">'
                   f"{10.0 ** power:g}x</text>")
    y = TOP
    for title, peers in groups:
        out.append(f'<text class="title" x="12" y="{y + 17}">{html.escape(title)}</text>')
        y += HEAD
        for label, ratio in peers:
            begin, end = sorted((place(1), place(ratio)))
            out.append(f'<text class="faint" x="{LEFT - 8}" y="{y + 13}" text-anchor="end">'
                       f"{html.escape(label)}</text>")
            out.append(f'<rect class="{"more" if ratio >= 1 else "less"}" x="{begin:.1f}" y="{y}" '
                       f'width="{max(end - begin, 1):.1f}" height="{BAR}"/>')
            out.append(f'<text x="{max(end, place(1)) + 6:.1f}" y="{y + 13}">{tables.times(ratio)}</text>')
            y += BAR + GAP
    return "\n".join([*out, "</svg>"]) + "\n"
