"""The table of this record, from the rows beside it: `python analyse.py`."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean
from typing import Any

from lehr.lab.files import write_json
from lehr.lab.statistics import summarise

HERE = Path(__file__).parent
WAYS = [("lehr", "valley"), ("lehr", "edge / 3"), ("torch-lr-finder", "suggestion")]


def show(task: str, values: list[float]) -> str:
    found = summarise(values)
    scale, digits = (1.0, 3) if task == "tinyshakespeare" else (100.0, 1)
    return f"{scale * found.mean:.{digits}f} ± {scale * (found.sd or 0.0):.{digits}f}"


def main() -> None:
    rows: dict[str, list[dict[str, Any]]] = {}
    for path in sorted((HERE / "runs").glob("*.json")):
        row = json.loads(path.read_text())
        rows.setdefault(row["task"], []).append(row)
    summary: dict[str, Any] = {}
    print("| task | n | tool, suggestion | rates | test result | seconds an update / plain | put back |")
    print("|---|---:|---|---|---:|---:|---|")
    for task, runs in rows.items():
        for tool, name in WAYS:
            trained = [run[tool]["trained"].get(name) for run in runs]
            rates = [f"{one['lr']:.2g}" if one else "none" for one in trained]
            results = [one["test"] for one in trained if one and one["test"] is not None]
            ratio = fmean(100 * run[tool]["seconds_an_update"] / run["plain_seconds"] for run in runs)
            back = sorted({part for run in runs for part, same in run[tool]["put_back"].items() if not same})
            lost = f"all but {', '.join(back)}" if back else "all"
            failed = len(runs) - len(results)
            said = (show(task, results) if results else "-") + (f", {failed} of {len(runs)} without" if failed else "")
            print(f"| {task} | {len(runs)} | {tool}, {name} | {', '.join(rates)} | {said} | {ratio:.2f} | {lost} |")
            summary[f"{task} {tool} {name}"] = {"rates": rates, "test": results, "ratio": ratio, "not_put_back": back}
    write_json(HERE / "summary.json", summary, indent=1)


if __name__ == "__main__":
    main()
