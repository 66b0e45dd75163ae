"""``optimum-cli export phantom-edge …``: optimum imports every module of its namespace folder."""

from __future__ import annotations

from optimum.commands.base import BaseOptimumCLICommand, CommandInfo
from optimum.commands.export.base import ExportCommand


class PhantomEdgeExportCommand(BaseOptimumCLICommand):
    """Hands its arguments to ``phantom-edge export``, so that both commands are one."""

    COMMAND = CommandInfo(
        name="phantom-edge", help="Export a Phantom vision-language model for on-device use."
    )

    @staticmethod
    def parse_args(parser) -> None:
        parser.add_argument("-m", "--model", help="Folder or Hugging Face id of a Phantom checkpoint.")
        parser.add_argument("--target", default="ios", help="ios, android, web or desktop.")
        parser.add_argument("--quant", help="Recipe: fp32, fp16, int8, int4 or a TOML file.")
        parser.add_argument("output", help="Folder to write the bundle to.")

    def run(self) -> None:
        from phantom_edge.cli import main

        options = {"--model": self.args.model, "--target": self.args.target, "--quant": self.args.quant}
        given = [word for name, value in options.items() if value for word in (name, value)]
        main(["export", *given, "--output", self.args.output])


REGISTER_COMMANDS = [(PhantomEdgeExportCommand, ExportCommand)]
