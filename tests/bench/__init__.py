"""Times isoxide against its rivals on this machine; `make bench`, `make bench-quick` and `make bench-docs` run it.

- `works.py` says what is timed, `growth.py` what is timed to see how costs grow, `data.py` makes the tables;
- `forests.py` and `rankers.py` hold the contenders, each at its best setting for the work;
- `child.py` is the process of one contender, `harness.py` asks the children in turn;
- `record.py` and `machine.py` make the record of a run, `charts.py` and `render.py` the documents from a record.

Every contender of a work has a process of its own, alive for the whole work, and is asked for one timing at a time:
A B C A B C. So all see the same neighbours on the machine, and a ratio is always one of the same round.
"""
