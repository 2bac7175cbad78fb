"""Templates as a C header."""

from .encoding import encode_opcodes, encode_template

__all__ = ["c_header"]


def c_header(templates):
    """Return C text with places, parameters, words and opcode maps of ``templates``.

    Words are arrays of eight 64-bit numbers, least significant first.
    """
    slots = {template.name: number for number, template in enumerate(templates)}
    lines = ["/* Templates of shared devices, written by `iovirt template`. */",
             "#ifndef IOVIRT_TEMPLATES_H", "#define IOVIRT_TEMPLATES_H", "", "#include <stdint.h>"]
    for template in templates:
        name = template.name
        lines += ["", f"/* {template.title.replace('*/', '* /')}. */",
                  f"#define IOVIRT_TEMPLATE_{name.upper()} {slots[name]}"]
        lines += [f"#define IOVIRT_PARAMETER_{name.upper()}_{_identifier(key)} {number}"
                  for key, number in template.parameters.items()]
        lines += _array(f"iovirt_template_{name}", encode_template(template, slots))
        lines += _array(f"iovirt_opcodes_{name}", encode_opcodes(template))
    return "\n".join([*lines, "", "#endif", ""])


def _identifier(name):
    return "".join(letter if letter.isalnum() else "_" for letter in name).upper()


def _array(name, word):
    parts = [f"0x{word >> 64 * n & (1 << 64) - 1:016x}" for n in range(8)]
    return [f"static const uint64_t {name}[8] = {{",
            *(f"    UINT64_C({part})," for part in parts), "};"]
