"""What a batch prediction leaves: lines of JSON, one a record, in order. In parts while it runs, then as one file.

{"index": 0, "output": {...}}
{"index": 1, "error": {"code": "invalid_input", "message": "..."}}
"""

PREDICTIONS_NAME = "predictions.jsonl"
MEDIA_TYPE = "application/jsonl"
