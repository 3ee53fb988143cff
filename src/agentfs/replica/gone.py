"""Files that only a name of this machine still holds, and whose bytes are nowhere any more.

Another machine deleted the file; here it was renamed, or stands in a directory that was, without its bytes. When it
is to be committed as a file of its own and the bytes were collected meanwhile (this machine was away for longer than
the history is kept), nothing is left to keep: the delete holds, and is recorded. That a small content was collected
the log tells; of the chunks of a large one only that they are nowhere, and nothing of the log needs them.
"""

from agentfs.replica.apply_show import Show
from agentfs.replica.journal import LOG_SESSION
from agentfs.replica.replica import Replica
from agentfs.replica.transaction import PENDING_CONTENT, RESIDENCY_REMOTE

_DETAIL = (
    "deleted by another machine, and no longer in the history when this one, which never had its bytes, came back"
)


def give_up(replica: Replica, ino: int, *, agent: str) -> bool:
    """Take the names of such a file away. Returns False, with nothing changed, when it is in the log, or its bytes or
    changes of them are here. On return it survives `kill -9`."""
    with replica.transaction(session=LOG_SESSION) as tx:
        row = tx.inode(ino)
        if row is None or row.id is not None or row.local or not row.nlink or tx.is_write_open(ino):
            return False
        if row.residency != RESIDENCY_REMOTE or row.pending & PENDING_CONTENT:
            return False
        step = Show(tx, agent=agent, digests={})
        places = step.shown_at(ino)
        for place in places:
            step.unshow(*place, ino)
        step.tidy()
        tx.sql.execute(
            "INSERT INTO conflict(kind,parent,name,kept_as,detail,sequence,at_ns) VALUES('delete',?,?,x'',?,NULL,?)",
            (*places[0], _DETAIL, tx.now_ns),
        )
        tx.purge(ino)
    return True
