"""Compare isoxide with rival libraries on this machine (`make bench` and the targets beside it).

- `works.py` defines the works of the table, `growth.py` those of the growth chart, and `data.py` makes the tables;
- `forests.py`, `compiled.py` and `rankers.py` call the libraries, each with its best settings for the work, and
  `programs.py` starts whole programs;
- `child.py` is the process of one contender, and `harness.py` sends requests to these processes in turn;
- `grid.py` searches for works in which a rival is faster, among those that `grid_space.py` draws;
- `record.py` and `machine.py` make the record of a run, and `goals.py` compares records with the goals of development;
- `render.py` makes the documents from all records, with `page.py`, `grid_page.py`, `charts.py` and `text.py`.

Every contender of a work has its own process for the whole work. The processes make one timing at a time, in turn:
A B C A B C. So other load on the machine affects all of them alike, and each ratio compares timings of the same round.
"""
