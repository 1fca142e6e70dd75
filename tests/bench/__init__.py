"""Compare isoxide with rival libraries on this machine (`make bench`, `make bench-quick` and `make bench-docs`).

- `works.py` defines the works of the table, `growth.py` those of the growth chart, and `data.py` makes the tables;
- `forests.py` and `rankers.py` call the libraries, each with its best settings for the work;
- `child.py` is the process of one contender, and `harness.py` sends requests to these processes in turn;
- `record.py` and `machine.py` make the record of a run, and `charts.py` and `render.py` make the documents from it.

Every contender of a work has its own process for the whole work. The processes make one timing at a time, in turn:
A B C A B C. So other load on the machine affects all of them alike, and each ratio compares timings of the same round.
"""
