"""Run translation test vectors on the RTL."""

import sys

from iovirt.cli.common import UsageError, add_config_arguments, config_of, report, write_json

from ..vectors import Failure, Traits, VectorError, load_cases, run_case

__all__ = ["add_arguments", "run", "traits_of"]


def add_arguments(parser):
    """Add the arguments."""
    add_config_arguments(parser)
    parser.add_argument("files", nargs="+", metavar="FILE", help=".jsonl or .jsonl.gz")
    parser.add_argument("--target", choices=("engine", "top", "model"), default="engine",
                        help="the remap engine's own request stream, the full top where a TLP can "
                        "say the case, or the plain-Python model (default: engine)")
    parser.add_argument("--show", type=int, default=5, metavar="N",
                        help="failures to show in full (default: 5)")


def traits_of(config):
    """Return what decides which cases the design of ``config`` can run."""
    return Traits(frozenset(config.remap.second_stage) | {"DBG"},
                  config.remap.physical_address_bits, config.remap.ddt_levels)


def _target(name, config):
    if name == "model":
        from ..models.target import ModelTarget
        from ..models.translate import Capabilities

        remap = config.remap
        return ModelTarget(Capabilities(remap.physical_address_bits, remap.second_stage,
                                        remap.ddt_levels))
    from .. import vector_targets

    return {"engine": vector_targets.EngineTarget, "top": vector_targets.TopTarget}[name](config)


def run(options):
    """Run the verb; the last line is ``N passed, M failed, K not applicable``."""
    config = config_of(options)
    traits, passed, failures, skipped = traits_of(config), 0, [], 0
    target = _target(options.target, config)
    expressible = getattr(target, "expressible", lambda case: True)
    try:
        for path in options.files:
            for case in load_cases(path):
                if not traits.applies(case) or not expressible(case):
                    skipped += 1
                    continue
                try:
                    run_case(case, target)
                    passed += 1
                except Failure as failure:
                    failures.append({"case": case.id, "what": str(failure)})
    except VectorError as error:
        raise UsageError(str(error)) from None
    for failure in failures[:options.show]:
        print(failure["what"], file=sys.stderr)
    write_json(options.json, report(config, target=options.target, passed=passed,
                                    failed=len(failures), not_applicable=skipped,
                                    failures=failures))
    print(f"{passed} passed, {len(failures)} failed, {skipped} not applicable")
    return 1 if failures else 0
