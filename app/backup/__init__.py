"""The whole state of a service in one folder, and back: every row, and every file of the store that a row refers to.

backup.json           what the backup is, and the digest of each file below; written last
tables/{table}.jsonl  rows, of either database, for either database
files.jsonl           key, size and SHA-256 of each stored file
store/{key}           the stored files
"""

from app.backup.format import BackupError
from app.backup.restoring import restore
from app.backup.writing import Written, write_backup

__all__ = ["BackupError", "Written", "restore", "write_backup"]
