"""Write demo_four_class.jsonl, its English rows and demo_heldout.jsonl to assets/data (same bytes every time).

python assets/demo_model/recipe/make_data.py [--out FOLDER]
"""

import argparse
import json
import random
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parents[2])]

import phrases as p  # noqa: E402

from so8t_engine.answer.format import CLASSES, Answer, Final, build  # noqa: E402

SEED = 7
ROWS_PER_LANGUAGE = 1800
HELD_OUT_PER_LANGUAGE = 250
TERSE_SHARE = 0.25
CONTEXT_SHARE = 0.4


def answer(language, kind, group, label, terse=False):
    """The answer in the quadruple-thinking format."""
    names = {
        "k": p.KIND_NAMES[language][kind],
        "g": p.GROUP_NAMES[language][group],
        "c": p.CLAUSE[kind, group],
    }
    if terse:
        hidden = p.TERSE[language]
    else:
        hidden = (p.TASK[language].format(**names), p.SAFETY[language][label], p.RULE[language][label])
    reason = p.REASON[language][label].format(**names)
    reply = p.REPLY[language][kind] if label == "ALLOW" else ""
    return build(Answer(*hidden, Final(label, p.CONFIDENCE[label], reason, reply)))


def _pairs_by_class(language, pairs):
    """{class: {(kind, group): its pairs}}: classes and then cells are drawn evenly."""
    table = {label: {} for label in CLASSES}
    for pair in pairs:
        cell = (pair[0], pair[2])
        table[p.POLICY[cell]].setdefault(cell, []).append(pair)
    return table


def _row(language, pair, phrasing, context, phrasing_id, terse):
    kind, v, group, o = pair
    label = p.POLICY[kind, group]
    return {
        "instruction": p.request(language, pair, phrasing, context),
        "input": "",
        "output": answer(language, kind, group, label, terse),
        "four_class_label": label,
        "domain_label": group,
        "safety_label": p.SAFETY_LABEL[label],
        "thinking_format": "quadruple",
        "source": "SO8T Studio demo",
        "language": language,
        "action": kind,
        "pair": f"{language}:{kind}{v}+{group}{o}",
        "phrasing": phrasing_id,
    }


def training_rows():
    """Rows from every pair that is not held out, in the training phrasings."""
    rng = random.Random(SEED)
    rows, seen = [], set()
    for language in p.LANGUAGES:
        held = p.held_out_pairs(language)
        table = _pairs_by_class(language, [pair for pair in p.pairs(language) if pair not in held])
        for i in range(ROWS_PER_LANGUAGE):
            cells = table[CLASSES[i % len(CLASSES)]]
            while True:
                pair = rng.choice(cells[rng.choice(sorted(cells))])
                number = rng.randrange(len(p.PHRASINGS[language]))
                context = rng.choice(p.CONTEXTS[language]) if rng.random() < CONTEXT_SHARE else ""
                terse = rng.random() < TERSE_SHARE
                row = _row(language, pair, p.PHRASINGS[language][number], context, f"{language}:t{number}", terse)
                if row["instruction"] not in seen:
                    break
            seen.add(row["instruction"])
            rows.append(row)
    rng.shuffle(rows)
    return _numbered(rows, "demo")


def held_out_rows():
    """Rows from held-out pairs only, in held-out phrasings only, each pair at most once."""
    rng = random.Random(SEED + 1)
    rows = []
    for language in p.LANGUAGES:
        table = _pairs_by_class(language, sorted(p.held_out_pairs(language)))
        queues = {}
        for label, cells in table.items():
            for pairs in cells.values():
                rng.shuffle(pairs)
            # cells in turn, so that each is met about as often
            queues[label] = [cell[i] for i in range(max(map(len, cells.values()))) for cell in cells.values()]
        for i in range(HELD_OUT_PER_LANGUAGE):
            label = CLASSES[i % len(CLASSES)]
            pair = queues[label].pop(0)
            number = i // len(CLASSES) % len(p.HELD_OUT_PHRASINGS[language])
            context = rng.choice(p.HELD_OUT_CONTEXTS[language]) if rng.random() < CONTEXT_SHARE else ""
            phrasing = p.HELD_OUT_PHRASINGS[language][number]
            rows.append(_row(language, pair, phrasing, context, f"{language}:h{number}", terse=False))
    rng.shuffle(rows)
    return _numbered(rows, "held")


def _numbered(rows, name):
    return [{"id": f"{name}-{i:04d}", **row} for i, row in enumerate(rows, 1)]


def write(folder):
    """Write the files into `folder`; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths, train = [], training_rows()
    english = [row for row in train if row["language"] == "en"]
    for name, rows in (("demo_four_class", train), ("demo_four_class_en", english), ("demo_heldout", held_out_rows())):
        path = folder / f"{name}.jsonl"
        text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_bytes(text.encode("utf-8"))
        paths.append(path)
    return paths


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE.parents[1] / "data")
    for path in write(parser.parse_args().out):
        print(path, sum(1 for _ in path.open(encoding="utf-8")), "rows")


if __name__ == "__main__":
    main()
