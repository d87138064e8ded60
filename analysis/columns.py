"""Which column of a table plays which part: as the user says, else as usual names say."""

from __future__ import annotations

import dataclasses
import difflib
import re
from collections.abc import Mapping, Sequence

from .errors import TableError
from .metric_mode import HIGH_IS_GOOD, LOW_IS_GOOD
from .sources import RunTable


@dataclasses.dataclass(frozen=True, kw_only=True)
class Role:
    """A part that a column can play.

    Attributes:
        words: what it is called in messages.
        option: the command's option that names its column.
        ranks: patterns of usual names, lower case, words joined by underscores; a later rank counts where no earlier
            one is found.
    """

    words: str
    option: str
    ranks: tuple[str, ...]


_BATCH = r"(?:(?:global|train|training|total|effective)_)*(?:bs|bsz|batch|batch_size|batchsize|mini_?batch_size)"
_STAGE = r"(?:(?:final|last|best|min|max|smooth|smoothed|mean|avg|average)_)*"
_SPLIT = r"(?:(?:train|training|val|valid|validation|eval|evaluation|test|dev|heldout)_)*"

ROLES: Mapping[str, Role] = {
    "batch_size": Role(words="batch size", option="--batch-size", ranks=(_BATCH, r"per_device_(?:train_)?batch_size")),
    "learning_rate": Role(
        words="learning rate",
        option="--learning-rate",
        ranks=(r"(?:(?:peak|max|base|initial|init|optim|optimizer)_)*(?:lr|learning_?rate|eta|step_size)",),
    ),
    "loss": Role(
        words="loss",
        option="--loss",
        ranks=(
            rf"{_STAGE}{_SPLIT}{_STAGE}(?:{LOW_IS_GOOD}|{HIGH_IS_GOOD})(?:_final|_last|_best|_min|_max)?",
            r"value|objective|metric",
        ),
    ),
    "steps": Role(
        words="number of steps",
        option="--steps",
        ranks=(
            r"steps_to_target|steps_to_goal",
            r"(?:(?:num|n|train|training|total|optimi[sz]er|update|global)_)*(?:steps|updates|iterations|iters)",
            r"global_step",
            r"(?:(?:train|training|optimi[sz]er)_)*(?:step|update)",
            r"(?:(?:train|training)_)*(?:iteration|iter)",
            r"epochs?",
        ),
    ),
    "examples": Role(
        words="examples",
        option="--examples",
        ranks=(
            r"(?:(?:num|n|train|training|total)_)*(?:examples|samples|tokens|images|sequences)(?:_seen|_to_target)?",
        ),
    ),
    "seed": Role(
        words="seed",
        option="--seed",
        ranks=(r"seed|random_seed|rng_seed|random_state", r"(?:\w+_)?seed|replicate|repeat|rep|trial_seed"),
    ),
    "run": Role(words="name of a run", option="--run", ranks=(r"run|run_id|run_name|trial_id",)),
    "status": Role(words="run state", option="--status", ranks=(r"status|state|run_state",)),
}
_PER_DEVICE = re.compile(ROLES["batch_size"].ranks[1])


@dataclasses.dataclass(frozen=True, kw_only=True)
class Columns:
    """Role -> the column that plays it, or None; the columns that split runs into sweeps; a sentence for each guess."""

    by_role: Mapping[str, str | None]
    groups: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __getitem__(self, role: str) -> str | None:
        """Return the column that plays ``role``, or None."""
        return self.by_role.get(role)

    def need(self, role: str) -> str:
        """Return the column that plays ``role``.

        Raises:
            TableError: there is none.
        """
        column = self.by_role.get(role)
        if column is None:
            raise TableError(f"no column is the {ROLES[role].words}; name it by {ROLES[role].option} COLUMN")
        return column


def choose_columns(
    table: RunTable,
    *,
    given: Mapping[str, str | None],
    roles: Sequence[str],
    optional: Sequence[str] = (),
    groups: Sequence[str] = (),
) -> Columns:
    """Return the column of each role.

    Args:
        table: the runs.
        given: role -> column as the user says; None or left out: guessed from usual names.
        roles: the roles that must be played.
        optional: the roles that need not be.
        groups: columns of whose every combination of values is a sweep of its own.

    Raises:
        TableError: a column that is not there or is named for two parts, a role that no column or more than one column
            could play.
    """
    names = table.names
    chosen = {role: name for role, name in given.items() if name is not None}
    for role, name in chosen.items():
        _check_name(name, names, ROLES[role].option)
    for name in groups:
        _check_name(name, names, "--group")
    _check_apart(chosen, groups)
    notes = []
    for role in (*roles, *optional):
        # The ids of runs that a source itself tells apart need no guess.
        if role in chosen or (role == "run" and table.row_numbers is None):
            continue
        free = [name for name in names if name not in chosen.values() and name not in groups]
        guess = _guess(role, free, table)
        if guess is not None:
            chosen[role] = guess
            notes.append(_note(role, guess))
        elif role in roles:
            part = ROLES[role]
            grouped = _guess(role, groups, table)
            if grouped is not None:
                raise TableError(
                    f"a column plays one part, but {grouped!r} is named by --group and is the only one with a usual "
                    f"name for the {part.words}; name another one by {part.option} COLUMN"
                )
            raise TableError(
                f"no column has a usual name for the {part.words} among {listed(names)}; "
                f"name it by {part.option} COLUMN"
            )
    by_role = {role: chosen.get(role) for role in (*roles, *optional)}
    return Columns(by_role=by_role, groups=tuple(groups), notes=tuple(notes))


def usual_name(name: str) -> str:
    """Return a column's name in the form that ``ROLES`` describes: ``config/optim/peakLR`` becomes ``peak_lr``."""
    last = re.split(r"[/.]", name)[-1]
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", last)
    plain = re.sub(r"[\W_]+", "_", words).strip("_").lower()
    return re.sub(r"^(?:params?|hparams|config|user_attrs?|summary)_", "", plain)


def listed(names: Sequence[str], most: int = 12) -> str:
    """Return names for a message, each quoted, the rest counted."""
    shown = ", ".join(repr(name) for name in names[:most])
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown or "no columns"


def _guess(role: str, names: Sequence[str], table: RunTable) -> str | None:
    declared = [name for name in names if role == "loss" and name in table.directions]
    ranks = [declared, *([n for n in names if re.fullmatch(rank, usual_name(n))] for rank in ROLES[role].ranks)]
    found = next((rank for rank in ranks if rank), [])
    # Columns that hold the same say the same, whichever is taken.
    different = [name for name in found[1:] if not _same(table, found[0], name)]
    if different:
        raise TableError(
            f"{len(different) + 1} columns could be the {ROLES[role].words}: {listed([found[0], *different])}; "
            f"name one by {ROLES[role].option} COLUMN"
        )
    return found[0] if found else None


def _same(table: RunTable, one: str, other: str) -> bool:
    return bool((table.runs[one].astype(str).to_numpy() == table.runs[other].astype(str).to_numpy()).all())


def _note(role: str, name: str) -> str:
    note = f"The {ROLES[role].words} is taken from the column {name!r}."
    if role == "batch_size" and _PER_DEVICE.fullmatch(usual_name(name)):
        note += (
            " It counts ONE device: the laws are about the global batch, so the answer holds only if the number of "
            "devices and of accumulation steps never changed."
        )
    return note


def _check_name(name: str, names: Sequence[str], option: str) -> None:
    if name in names:
        return
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    close = close or [n for n in names if name.lower() in n.lower()][:3]
    hint = f"the closest: {listed(close)}" if close else f"found {listed(names)}"
    raise TableError(f"{option} names a column of the table, but there is no {name!r}; {hint}")


def _check_apart(chosen: Mapping[str, str], groups: Sequence[str]) -> None:
    uses = [(name, ROLES[role].option) for role, name in chosen.items()] + [(name, "--group") for name in groups]
    for position, (name, option) in enumerate(uses):
        other = next((before for taken, before in uses[:position] if taken == name), None)
        if other is not None:
            raise TableError(f"a column plays one part, but {name!r} is named by {other} and {option}; drop one")
