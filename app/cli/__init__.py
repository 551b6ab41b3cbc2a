"""The `pretune` command. Each command imports what it needs when it runs, so that `--help` is quick; none needs torch.

Exit codes: 0 done, 1 refused or failed, 2 the command line or a setting is wrong, 3 the service cannot start or is not
there, 4 the job that was waited for did not succeed, 130 interrupted.
"""

import typer

from app.cli import datasets, doctor, jobs, keys, models, service, sweeps

app = typer.Typer(
    help="Pretrain models, fine-tune them, serve them.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)
for room in (jobs, models, doctor, service):
    app.add_typer(room.commands)
app.add_typer(datasets.commands, name="datasets")
app.add_typer(models.registry, name="models")
app.add_typer(sweeps.commands, name="sweep")
app.add_typer(keys.commands, name="keys")


def main() -> None:
    app()
