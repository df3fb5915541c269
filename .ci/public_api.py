"""Prints the public items of a crate, one per line and sorted, from the JSON that rustdoc writes.

Inherent and trait items, fields, variants and implemented traits count; blanket and automatic
implementations do not.
"""

import json
import sys

crate = json.load(open(sys.argv[1]))
index = crate["index"]
lines = set()


def item(key):
    return index.get(str(key))


def kind_of(one):
    return next(iter(one["inner"]))


def arguments(args):
    if not args:
        return ""
    if "parenthesized" in args:
        inner = args["parenthesized"]
        output = f" -> {text(inner['output'])}" if inner.get("output") else ""
        return f"({', '.join(map(text, inner['inputs']))}){output}"
    if "angle_bracketed" not in args:
        return ""
    inner = args["angle_bracketed"]
    parts = []
    for arg in inner["args"]:
        if arg == "infer":
            parts.append("_")
        elif "lifetime" in arg:
            parts.append(arg["lifetime"])
        elif "type" in arg:
            parts.append(text(arg["type"]))
        elif "const" in arg:
            parts.append(arg["const"]["expr"])
    for one in inner["constraints"]:
        binding = one["binding"]
        if "equality" in binding:
            term = binding["equality"]
            value = text(term["type"]) if "type" in term else term["constant"]["expr"]
            parts.append(f"{one['name']} = {value}")
        else:
            parts.append(f"{one['name']}: {bounds(binding['constraint'])}")
    return f"<{', '.join(parts)}>" if parts else ""


def bounds(list_of):
    parts = []
    for bound in list_of:
        if "trait_bound" in bound:
            inner = bound["trait_bound"]
            sign = {"none": "", "maybe": "?", "maybe_const": "~const "}[inner["modifier"]]
            parts.append(sign + inner["trait"]["path"] + arguments(inner["trait"]["args"]))
        elif "outlives" in bound:
            parts.append(bound["outlives"])
        elif "use" in bound:
            parts.append("use<..>")
    return " + ".join(parts)


def function_type(signature, sep=": "):
    inputs = []
    for name, kind in signature["inputs"]:
        inputs.append("self" if name == "self" and kind == {"generic": "Self"} else f"{name}{sep}{text(kind)}")
    output = f" -> {text(signature['output'])}" if signature["output"] else ""
    return f"({', '.join(inputs)}){output}"


def text(kind):
    """A type as Rust writes it."""
    (name, inner), = kind.items()
    if name in ("generic", "primitive"):
        return inner
    if name == "resolved_path":
        return inner["path"] + arguments(inner["args"])
    if name == "borrowed_ref":
        lifetime = f"{inner['lifetime']} " if inner["lifetime"] else ""
        return f"&{lifetime}{'mut ' if inner['is_mutable'] else ''}{text(inner['type'])}"
    if name == "raw_pointer":
        return f"*{'mut' if inner['is_mutable'] else 'const'} {text(inner['type'])}"
    if name == "tuple":
        return f"({', '.join(map(text, inner))})"
    if name == "slice":
        return f"[{text(inner)}]"
    if name == "array":
        return f"[{text(inner['type'])}; {inner['len']}]"
    if name == "impl_trait":
        return f"impl {bounds(inner)}"
    if name == "dyn_trait":
        traits = [one["trait"]["path"] + arguments(one["trait"]["args"]) for one in inner["traits"]]
        return f"dyn {' + '.join(traits + ([inner['lifetime']] if inner['lifetime'] else []))}"
    if name == "function_pointer":
        return f"fn{function_type(inner['sig'])}"
    if name == "qualified_path":
        owner = text(inner["self_type"])
        if inner["trait"] and inner["trait"]["path"]:
            owner = f"<{owner} as {inner['trait']['path']}{arguments(inner['trait']['args'])}>"
        return f"{owner}::{inner['name']}"
    return name


def generics(of):
    parts, clauses = [], []
    for one in of["params"]:
        kind = one["kind"]
        if "lifetime" in kind:
            parts.append(one["name"])
        elif "const" in kind:
            parts.append(f"const {one['name']}: {text(kind['const']['type'])}")
        elif not kind["type"]["is_synthetic"]:
            limits = bounds(kind["type"]["bounds"])
            parts.append(one["name"] + (f": {limits}" if limits else ""))
    for one in of["where_predicates"]:
        if "bound_predicate" in one:
            limits = bounds(one["bound_predicate"]["bounds"])
            clauses.append(f"{text(one['bound_predicate']['type'])}: {limits}")
    return (f"<{', '.join(parts)}>" if parts else "", f" where {', '.join(clauses)}" if clauses else "")


def function(one, path):
    inner = one["inner"]["function"]
    words = [w for w in ("const", "unsafe", "async") if inner["header"].get(f"is_{w}")]
    parameters, where = generics(inner["generics"])
    return f"{' '.join(words + ['fn'])} {path}{parameters}{function_type(inner['sig'])}{where}"


def implementations(keys, path):
    for key in keys:
        one = item(key)
        if not one:
            continue
        inner = one["inner"]["impl"]
        if inner["is_synthetic"] or inner["blanket_impl"] or inner["is_negative"]:
            continue
        if inner["trait"]:
            parameters, _ = generics(inner["generics"])
            implemented = inner["trait"]["path"] + arguments(inner["trait"]["args"])
            lines.add(f"impl{parameters} {implemented} for {path}")
            continue
        for member in inner["items"]:
            visit(item(member), path, inherited=False)


def fields(keys, path, inherited):
    for key in keys:
        if key is not None:
            visit(item(key), path, inherited)


def visit(one, parent, inherited=False, name=None):
    if not one or not (inherited or one["visibility"] == "public"):
        return
    kind, path = kind_of(one), f"{parent}::{name or one['name']}"
    inner = one["inner"][kind]
    if kind == "use":
        target = item(inner["id"]) if inner["id"] is not None else None
        if target is None:
            lines.add(f"use {parent}::{inner['name']} = {inner['source']}")
        elif inner["is_glob"]:
            members = target["inner"].get("module") or {"items": target["inner"]["enum"]["variants"]}
            for key in members["items"]:
                visit(item(key), parent, inherited="enum" in target["inner"])
        else:
            visit(target, parent, inherited=True, name=inner["name"])
    elif kind == "module":
        lines.add(f"mod {path}")
        for key in inner["items"]:
            visit(item(key), path)
    elif kind in ("struct", "union", "enum", "trait"):
        parameters, where = generics(inner["generics"])
        limits = f": {bounds(inner['bounds'])}" if inner.get("bounds") else ""
        attributes = "".join("#[non_exhaustive] " for a in one["attrs"] if "non_exhaustive" in str(a))
        lines.add(f"{attributes}{kind} {path}{parameters}{limits}{where}")
        if kind == "trait":
            for key in inner["items"]:
                visit(item(key), path, inherited=True)
            return
        if kind == "enum":
            fields(inner["variants"], path, True)
        elif kind == "struct" and inner["kind"] != "unit":
            shape = inner["kind"]
            fields(shape["plain"]["fields"] if "plain" in shape else shape["tuple"], path, False)
        implementations(inner["impls"], path)
    elif kind == "variant":
        lines.add(f"variant {path}")
        shape = inner["kind"]
        if shape != "plain":
            fields(shape["struct"]["fields"] if "struct" in shape else shape["tuple"], path, True)
    elif kind == "struct_field":
        lines.add(f"field {path}: {text(inner)}")
    elif kind == "function":
        provided = "" if inner["has_body"] else " (required)"
        lines.add(function(one, path) + provided)
    elif kind == "constant":
        lines.add(f"const {path}: {text(inner['type'])}")
    elif kind == "assoc_const":
        lines.add(f"const {path}: {text(inner['type'])}")
    elif kind == "assoc_type":
        limits = f": {bounds(inner['bounds'])}" if inner["bounds"] else ""
        lines.add(f"type {path}{limits}" + (f" = {text(inner['type'])}" if inner["type"] else ""))
    elif kind == "type_alias":
        parameters, _ = generics(inner["generics"])
        lines.add(f"type {path}{parameters} = {text(inner['type'])}")
    else:
        lines.add(f"{kind} {path}")


root = item(crate["root"])
for key in root["inner"]["module"]["items"]:
    visit(item(key), root["name"])
print("\n".join(sorted(lines)))
