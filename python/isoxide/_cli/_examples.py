"""Texts at the end of the help of each command: examples, files and exit codes."""

from isoxide._cli._options import DEFAULT_MODEL, DEFAULT_OUT

__all__ = [
    "CALIBRATE_EXAMPLES",
    "COMPARE_EXAMPLES",
    "DECIDE_EXAMPLES",
    "DETECT_EXAMPLES",
    "DRIFT_EXAMPLES",
    "EXAMPLES",
    "EXPLAIN_EXAMPLES",
    "LOG_EXAMPLES",
    "REPORT_EXAMPLES",
    "SCORE_EXAMPLES",
    "TABLE",
    "TRAIN_EXAMPLES",
]

EXAMPLES = """a table to try it with:
  TABLE=$(python -c "from isoxide.datasets import load_enron; print(load_enron(as_path=True))")
  isoxide detect $TABLE --threshold 0.63 --zscores 'z_*' --open

examples:
  isoxide calibrate features.csv
  isoxide detect features.csv --alerts-per-month 25 --users users.csv --out out/
  isoxide train features.csv --alerts-per-month 25 --out model/
  isoxide detect new.csv --model model/ --out runs/
  isoxide drift new.csv --model model/
  isoxide score out/forest-*.safetensors features.csv --keep actor day --out scores.csv
  isoxide report out/findings-*.json --cutoff 99.5 --out out/

exit codes: 0 success, 1 the input is missing or invalid, 2 the command line is invalid,
  3 findings (--fail-on new), 4 the model should be trained again (--fail-on drift),
  130, 143, 129 ended by Ctrl-C, SIGTERM, SIGHUP
"""
DETECT_EXAMPLES = f"""files in the folder --out (default: {DEFAULT_OUT}), named after the first and the last day:
  findings-*.csv .parquet .json, forest-*.safetensors, report-*.md .html

examples:
  isoxide detect features.csv.gz --entity actor --time day --contamination 0.01
  isoxide detect features.parquet --alerts-per-month 25 --exclude 'zscore_*' --tail both --out out/
  isoxide detect features.csv --threshold 0.6 --users users.csv --groups actor --out out/
  isoxide detect lake/features/ --contamination 0.01 --out out/
  isoxide detect features.csv --model model/ --since 2025-02-20 --fail-on new --out runs/
  isoxide detect features.csv --alerts-per-month 25 --decisions decisions.csv --previous out/ --out today/
  isoxide detect features.csv --model model/ --format ocsf,csv --out runs/
  cat features.csv | isoxide detect - --contamination 0.01 --json
"""
TRAIN_EXAMPLES = f"""files in the folder --out (default: {DEFAULT_MODEL}): model.json, forest.safetensors,
  reference.parquet, entities.parquet

examples:
  isoxide train features.csv --entity actor --time day --alerts-per-month 25 --out model/
  isoxide train features.parquet --threshold 0.6 --groups actor --trees 1000 --out model/
"""
DRIFT_EXAMPLES = """examples:
  isoxide drift features.csv --model model/ --since 2025-02-01
  isoxide drift new.csv --model model/ --fail-on drift --json
"""
CALIBRATE_EXAMPLES = """a table to try it with:
  TABLE=$(python -c "from isoxide.datasets import load_enron; print(load_enron(as_path=True))")
  isoxide calibrate $TABLE --threshold 0.63

examples:
  isoxide calibrate features.csv --entity actor --time day
  isoxide calibrate features.csv --alerts-per-month 25 --plot scores.png
"""
SCORE_EXAMPLES = """examples:
  isoxide score out/forest-*.safetensors features.csv --keep actor day --out scores.csv
  isoxide score out/forest-*.safetensors lake/features/ --keep actor day --out scores/
"""
EXPLAIN_EXAMPLES = """examples:
  isoxide explain out/forest-*.safetensors features.csv --top 3 --keep actor day --out explained.csv
  isoxide explain out/forest-*.safetensors lake/features/ --keep actor day --out explained/
"""
REPORT_EXAMPLES = """examples:
  isoxide report out/findings-*.json --cutoff 99.5 --order entity --out out/
"""
DECIDE_EXAMPLES = """examples:
  isoxide decide out/ 4b1a7f43f88e --status known-good --note 'mailing list'
  isoxide decide out/findings-*.json 4b1a7f43f88e --status confirmed --who Ana --decisions decisions.csv
"""
COMPARE_EXAMPLES = """examples:
  isoxide compare out/ today/
  isoxide compare out/findings-*.json today/ --json
"""
LOG_EXAMPLES = """examples:
  isoxide log
  isoxide log runs.jsonl --verify

exit codes: 0 nothing was changed, 1 something was (--verify)
"""
TABLE = (
    "TABLE: a file (.csv, .tsv, .txt, also .gz, .zst, .bz2, .xz; .parquet, .feather, .arrow, .jsonl, .xlsx),\n"
    "a folder of such files, several of these, or - for standard input"
)
