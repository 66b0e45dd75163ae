"""Ask several questions about one picture; the picture is encoded once.

python examples/ask.py photo.jpg "How many objects are there?" "Describe the image." --model nano-desktop
"""

from __future__ import annotations

import argparse

import phantom_edge as pe


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("picture")
    parser.add_argument("questions", nargs="+")
    parser.add_argument("--model", help="a bundle or a checkpoint; default: the embedded Phantom-Nano")
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    arguments = parser.parse_args()

    session = pe.Session.open(arguments.model)
    chat = session.chat(arguments.picture)
    sampling = pe.Sampling(temperature=arguments.temperature, top_p=0.9, seed=0)
    for question in arguments.questions:
        print(f"> {question}")
        for piece in chat.ask(question, max_tokens=64, sampling=sampling):
            print(piece, end="", flush=True)  # text streams as it is generated
        print()
        timing = chat.timing
        print(f"  vision {timing.vision:.3f} s, prefill {timing.prefill:.3f} s, {timing.new_tokens} tokens")


if __name__ == "__main__":
    main()
