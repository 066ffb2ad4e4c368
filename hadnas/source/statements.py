"""The names that a Python statement binds, changes and reads, its meaning without formatting, and its text."""

import ast
import symtable
from collections.abc import Iterator
from contextlib import suppress


def binds(node: ast.stmt) -> set[str]:
    """The names that a definition or an assignment binds."""
    if isinstance(node, ast.ClassDef | ast.FunctionDef):
        return {node.name}
    single = [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []
    inner = (n for target in (node.targets if isinstance(node, ast.Assign) else single) for n in ast.walk(target))
    return {n.id for n in inner if isinstance(n, ast.Name) and isinstance(n.ctx, ast.Store)}


def changes(node: ast.stmt) -> set[str]:
    """The names whose object a statement changes: `a[0] = 1`, `a.b = 1`, `del a[0]`, `a.append(1)`."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        parts = [node.value.func]
    elif isinstance(node, ast.Assign | ast.Delete):
        parts = [part for target in node.targets for part in ast.walk(target) if _is_written(part)]  # type: ignore[misc]
    else:
        parts = [node.target] if isinstance(node, ast.AnnAssign | ast.AugAssign) else []
    changed = set()
    for part in parts:
        root = part
        while isinstance(root, ast.Attribute | ast.Subscript):
            root = root.value
        if isinstance(root, ast.Name) and root is not part:
            changed.add(root.id)
    return changed


def _is_written(part: ast.AST) -> bool:
    return isinstance(part, ast.Attribute | ast.Subscript) and not isinstance(part.ctx, ast.Load)


def names_read(node: ast.stmt) -> list[str]:
    """The names that a definition reads from its module, in order, those in string annotations included."""
    outside = set(_read_outside(symtable.symtable(ast.unparse(node), "<definition>", "exec")))
    read = []
    for part in ast.walk(node):
        if isinstance(part, ast.Name) and isinstance(part.ctx, ast.Load) and part.id in outside:
            read.append(part.id)
        for noted in (getattr(part, "annotation", None), getattr(part, "returns", None)):
            for type_ in _types_in_strings(noted) if noted is not None else ():
                read += [n.id for n in ast.walk(type_) if isinstance(n, ast.Name)]
    return list(dict.fromkeys(read))


def _read_outside(table: symtable.SymbolTable) -> Iterator[str]:
    """The names that a scope and its inner scopes read but do not bind."""
    for symbol in table.get_symbols():
        if symbol.is_referenced() and (symbol.is_global() or table.get_type() == "module"):
            yield symbol.get_name()
    for inner in table.get_children():
        yield from _read_outside(inner)


def _types_in_strings(annotation: ast.AST) -> Iterator[ast.expr]:
    """The types written as strings in an annotation; the strings of a `Literal` are values."""
    if isinstance(annotation, ast.Subscript) and ast.unparse(annotation.value).rpartition(".")[2] == "Literal":
        return
    if isinstance(annotation, ast.Constant) and isinstance(annotation.value, str):
        with suppress(SyntaxError):  # a comment, as in Annotated
            yield ast.parse(annotation.value, mode="eval").body
    for part in ast.iter_child_nodes(annotation):
        yield from _types_in_strings(part)


def meaning(value: object) -> str:
    """A part of a syntax tree as text without comments, docstrings and formatting.

    Unlike `ast.dump`, it omits empty fields, so that a new field in a later Python does not change the text.
    """
    if isinstance(value, list):
        return f"[{', '.join(meaning(item) for item in value if not _is_note(item))}]"
    if not isinstance(value, ast.AST):
        return repr(value)
    if isinstance(value, ast.Constant):
        return repr(value.value)
    fields = ((name, part) for name, part in ast.iter_fields(value) if part is not None and part != [])
    return f"{type(value).__name__}({', '.join(f'{name}={meaning(part)}' for name, part in fields)})"


def _is_note(value: object) -> bool:
    """Whether a statement is only a string: a docstring, or a comment written as a string."""
    return isinstance(value, ast.Expr) and isinstance(value.value, ast.Constant) and isinstance(value.value.value, str)


def text_of(node: ast.stmt, text: str) -> str:
    """The source lines of a definition with the decorators left in `node`."""
    lines = lines_of(text)
    decorators = getattr(node, "decorator_list", [])
    first = min([node.lineno, *(item.lineno for item in decorators)])
    return "\n".join(lines[first - 1 : node.end_lineno])


def lines_of(text: str) -> list[str]:
    """The lines as Python counts them; `str.splitlines` also splits at form feeds."""
    return text.removesuffix("\n").split("\n")
