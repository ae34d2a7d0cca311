"""What can go wrong with a backup. The texts are for the operator who runs the command.

BackupError
├── BackupRefused   something stands in the way, and would be overwritten or mixed; nothing was done
└── BackupDamaged   a backup is not what it says it is: use another one
"""

from __future__ import annotations


class BackupError(Exception):
    """A backup could not be made or used; the text says why."""

    reason = "BACKUP_FAILED"


class BackupRefused(BackupError):
    """Something stands in the way: nothing was done."""

    reason = "BACKUP_REFUSED"


class BackupDamaged(BackupError):
    """A backup is not what its manifest says."""

    reason = "BACKUP_DAMAGED"
