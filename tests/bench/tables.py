# SPDX-License-Identifier: Apache-2.0
"""A report of run.py as a table: for a terminal, and for the README."""

VERDICTS = {True: "met", False: "NOT MET", None: "not known"}


def number(value):
    """Three digits that mean something."""
    if value is None:
        return "-"
    if value == 0:
        return "0"
    digits = 2 if abs(value) < 10 else 1 if abs(value) < 100 else 0
    return f"{value:,.{digits}f}"


def times(value):
    return "" if value is None else f"{number(value)}x"


def share(value):
    return "" if value is None else f"{value * 100:.0f} %"


def machine_line(report):
    it = report["machine"]
    return (f"{it['cpu']}, {it['cpus']} CPUs; Linux {it['kernel']}; {it['system']}; "
            f"{it['compiler']}; load {it['load']:.1f}; {it['date']}")


def cells(row):
    """A line for each contender, a goal beside each as far as there are."""
    goals = [f"{goal['text']}: {VERDICTS[goal['met']]}" for goal in row["goals"]]
    goals += [""] * (len(row["contenders"]) - len(goals))
    for i, each in enumerate(row["contenders"]):
        label = f"at best: {each['label']}" if each["role"] == "limit" else each["label"]
        yield (row["title"] if i == 0 else "", label, number(each["median"]), row["unit"],
               "" if i == 0 else times(each["ratio"]), share(each["spread"]), goals[i])
    for goal in goals[len(row["contenders"]):]:
        yield ("", "", "", "", "", "", goal)


def text(report):
    head = ("operation", "who", "takes", "", "ratio", "spread", "goal")
    lines = [cell for row in report["rows"] for cell in cells(row)]
    widths = [max(len(line[i]) for line in [head, *lines]) for i in range(6)]
    right = (False, False, True, False, True, True)

    def show(line):
        shown = [cell.rjust(width) if to_right else cell.ljust(width)
                 for cell, width, to_right in zip(line, widths, right)]
        return "  ".join([*shown, line[6]]).rstrip()

    goals = [goal for row in report["rows"] for goal in row["goals"]]
    return "\n".join([
        machine_line(report), "", show(head), *(show(line) for line in lines), "",
        f"ratio: how many times ours; spread: the middle half of the rounds. "
        f"{sum(goal['met'] is True for goal in goals)} of {len(goals)} goals met, in "
        f"{report['seconds']} s.",
        f"Not packaged by Debian 12, so not measured: {', '.join(report['not_measured'])}.",
    ])


def others(row, role):
    return ", ".join(f"{each['label']} {number(each['median'])}"
                     + (f" ({times(each['ratio'])})" if role == "peer" and each["ratio"] else "")
                     for each in row["contenders"]
                     if each["role"] == role and each["median"] is not None)


def markdown(report):
    lines = ["| operation | fwdscope | the machine at best | others (times ours) | goal |",
             "|---|---|---|---|---|"]
    for row in report["rows"]:
        own = row["contenders"][0]
        goals = "; ".join(goal["text"] + ("" if goal["met"] else f": **{VERDICTS[goal['met']]}**")
                          for goal in row["goals"])
        value = number(own["median"])
        lines.append(f"| {row['title']} | {value} {row['unit']} | {others(row, 'limit')} | "
                     f"{others(row, 'peer')} | {goals} |")
    return "\n".join([*lines, "", machine_line(report) + "."]) + "\n"
