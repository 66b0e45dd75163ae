"""Find better integers with pictures of your own, then export them.

python examples/quantize_with_pictures.py pictures --output out --budget-kl 0.001
"""

from __future__ import annotations

import argparse
from pathlib import Path

import phantom_edge as pe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pictures", type=Path, help="a folder of at least 8 pictures, better 48")
    parser.add_argument("--model", help="folder or Hugging Face id; default: the embedded Phantom-Nano")
    parser.add_argument("--output", type=Path, required=True, help="a folder for the integers and the bundle")
    parser.add_argument("--quant", default="mixed", help="mixed, int4, int8 or a TOML recipe")
    parser.add_argument("--budget-kl", type=float, help="mixed: most KL divergence, in nats per token")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)

    options = pe.QuantizeOptions(
        arguments.quant, calibrate=arguments.pictures, budget_kl=arguments.budget_kl, kv_cache=False
    )
    integers = arguments.output / "integers.safetensors"
    request = pe.QuantizeRequest(model=arguments.model, options=options, output=integers)
    result = pe.quantize(request, step=lambda text: print(f"  {text}"))
    for row in result.quantization.rows[:5]:
        print(f"{row.name}: {row.precision}, {row.bytes} bytes")
    (arguments.output / "quantization.html").write_text(result.report.to_html(), encoding="utf-8")

    # The same integers go into every format.
    bundle = pe.export(
        pe.ExportRequest(
            target="desktop",
            model=arguments.model,
            quantize=pe.QuantizeOptions(str(integers)),
            output=arguments.output / "desktop",
        )
    ).bundle
    print(f"wrote {bundle.folder} ({bundle.bytes / 1e6:.1f} MB)")


if __name__ == "__main__":
    main()
