"""The formulas of docstrings as LaTeX.

A docstring is read in a terminal, too, so its formulas are plain text, such as
`loss = -alpha[y] * log p`. `latex` translates them for the pages. What it does not know
stays text.
"""

import re

TOKEN = re.compile(
    r"\s*(?:(\d+(?:\.\d+)?)|([A-Za-z]+(?:_[A-Za-z]+)*(?:_\d+)?'?)"
    r"|(_\{|\*\*|<=|>=|==|!=|<-|->|\|\||[-+*/^=<>(),|\[\]{}_.]))"
)
GREEK = set("alpha beta gamma delta epsilon eta pi sigma tau".split())
# Operators that take all that follows in their term.
WIDE = {"sum": r"\sum", "max": r"\max", "min": r"\min", "mean": r"\operatorname{mean}"}
WIDE |= {"integral": r"\int", "argmin": r"\operatorname*{argmin}"}
NAMED = {"log": r"\log", "exp": r"\exp", "in": r"\in"}
NAMED |= {x: rf"\operatorname{{{x}}}" for x in ("argmax", "Var", "Cov")}
WORDS = set(
    """
    loss score nll ece mce ks gap error perplexity entropy accuracy refinement floor
    aurc smece result brier_score reliability resolution uncertainty softmax sigmoid
    softplus log_softmax onehot reduce stop_gradient clip axis temperature strength
    scale transition noise bins off_diagonal_penalty bias_penalty rate dead_band
    max_gamma exponent BCE high low dt if minimizes threshold hit label within_bin
    within_variance within_covariance overconfidence underconfidence
    """.split()
)
RELATIONS = {"=": "=", "<=": r"\le", ">=": r"\ge", "!=": r"\ne", "<": "<", ">": ">"}
RELATIONS |= {"==": "=", "<-": r"\leftarrow", "->": r"\to", "in": r"\in"}
BRACKET = re.compile(r"\\(left|right)")
LABEL = re.compile(r"^(\w+):\s+(.*)$|^(\w+)\s{2,}(?![\s=+-])(.*)$")


class Unknown(Exception):
    """What is not in the notation."""


def latex(lines):
    """Returns a formula of one or more lines as LaTeX, or None."""
    try:
        rows = [row(line.strip()) for line in lines if line.strip()]
    except Unknown:
        return None
    if len(rows) == 1:
        return rows[0].replace("&", "")
    if not all("&" in row for row in rows):
        rows = ["& " + row.replace("& {}", r"\qquad").replace("&", "") for row in rows]
    return r"\begin{aligned}" + r"\\".join(rows) + r"\end{aligned}"


def row(line):
    """Returns a line, aligned after its label or at its relation."""
    label = LABEL.match(line)
    if label:
        name, rest = (group for group in label.groups() if group is not None)
        name = name.replace("_", r"\_")
        return rf"\text{{{name}}}\quad & {statements(rest)}"
    return statements(line, align=True)


def statements(line, align=False):
    """Returns the statements of a line, which wide gaps separate."""
    parts = []
    for part in re.split(r",?\s{3,}(?![\s=+-])", line):
        reader = Reader(part)
        parts.append(reader.statement(align and not parts))
        if reader.tokens:
            raise Unknown(reader.tokens)
    return r" \qquad ".join(parts)


class Reader:
    """Reads a statement from left to right."""

    def __init__(self, text):
        self.tokens, self.bars, position = [], 0, 0
        text = text.strip()
        while position < len(text):
            found = TOKEN.match(text, position)
            if not found:
                raise Unknown(text[position:])
            # A name takes the bracket that touches it as its argument.
            touches = found[0] == "(" and text[position - 1 : position].isalnum()
            self.tokens.append("call" if touches else found[0].strip())
            position = found.end()

    def next(self):
        return self.tokens[0] if self.tokens else ""

    def take(self, *expected):
        if not self.tokens or (expected and self.tokens[0] not in expected):
            raise Unknown(self.tokens)
        return self.tokens.pop(0)

    def statement(self, align=False):
        """Reads sums that relations and commas join."""
        mark, text = "&" if align else "", ""
        if self.next() in {"+", "-"} and align:
            text, mark = "& {}", ""
        elif self.next() not in RELATIONS:
            text = self.sum()
        while self.next() in {*RELATIONS, ","}:
            token = self.take()
            if token == ",":
                text += ", "
            else:
                text, mark = f"{text} {mark}{RELATIONS[token]} ", ""
            text += self.sum()
        if text.startswith("& {}"):
            text += self.sum()
        return text

    def sum(self):
        """Reads terms that are added."""
        text = ""
        while True:
            if self.next() in {"+", "-"}:
                text += f" {self.take()} "
            text += self.term()
            if self.next() not in {"+", "-"}:
                return text

    def term(self):
        """Reads factors; a slash makes a fraction of what is left of it."""
        text = self.factor()
        ends = {"", *RELATIONS, *",+-)]}_", *(("|", "||") if self.bars else ())}
        while self.next() not in ends:
            if self.next() == "/":
                self.take()
                text = rf"\frac{{{bare(text)}}}{{{bare(self.factor())}}}"
            elif self.next() == ".":
                self.take()
                text += r" \cdot " + self.factor()
            elif self.next() == "*":
                self.take()
                if self.next() == "-":
                    text = self.take() + text
                text += r"\, " + self.factor()
            else:
                text += r"\, " + self.factor()
        return text

    def factor(self):
        """Reads a number, a name or a bracket, with its index and its power."""
        if self.next() == "-":
            return self.take() + self.factor()
        text = self.base()
        if self.next() in {"**", "^"}:
            self.take()
            text = f"{text}^{{{bare(self.factor())}}}"
        return text

    def base(self):
        token = self.take()
        if token in {"(", "call"}:
            inside = self.statement()
            self.take(")")
            return rf"\left({inside}\right)" + self.index()
        if token in {"|", "||"}:
            self.bars += 1
            inside = self.statement()
            self.bars -= 1
            self.take(token)
            bar = r"\|" if token == "||" else "|"
            return rf"\left{bar}{inside}\right{bar}"
        if token[0].isdigit():
            return token
        if not token[0].isalpha():
            raise Unknown(token)
        return self.name(token)

    def name(self, token):
        prime, token = "'" * token.endswith("'"), token.rstrip("'")
        head, _, tail = token.partition("_")
        if token not in WORDS and (len(tail) in (1, 2) or tail in GREEK):
            below = f"_{{{letters(tail)}}}"
        elif tail and token not in WORDS:
            raise Unknown(token)
        else:
            head, below = token, self.index()
        if head == "sqrt":
            return rf"\sqrt{{{bare(self.base())}}}"
        if head in WIDE:
            return rf"{WIDE[head]}{below} {self.term()}"
        text = self.symbol(head) + prime + below
        below = []
        if head == "E" and self.next() == "[":
            self.take()
            text += rf"\left[{self.statement()}\right]"
            self.take("]")
        while self.next() == "[":
            self.take()
            below.append(self.statement())
            self.take("]")
        if below:
            text += rf"_{{{', '.join(below)}}}"
        if self.next() == "call":
            text += self.base()
        return text

    def symbol(self, head):
        if head in NAMED:
            return NAMED[head]
        if head in WORDS:
            return rf"\mathrm{{{head}}}".replace("_", r"\ ")
        return letters(head)

    def index(self):
        """Reads a subscript of one letter, or limits in braces."""
        if self.next() == "_{":
            self.take()
            below = f"_{{{self.braced()}}}"
            if self.tokens[:2] != ["^", "{"]:
                return below
            del self.tokens[:2]
            return f"{below}^{{{self.braced()}}}"
        if self.next() == "_":
            self.take()
            return f"_{{{letters(self.take())}}}"
        return ""

    def braced(self):
        inside = self.statement()
        self.take("}")
        return inside


def letters(name):
    """Returns a Greek letter, or Latin ones as a product of indices."""
    if name in GREEK:
        return f"\\{name}"
    if len(name) > 2:
        raise Unknown(name)
    return name


def bare(text):
    """Returns a bracketed expression without its brackets."""
    depth = 0
    for bracket in BRACKET.finditer(text):
        depth += 1 if bracket[1] == "left" else -1
        if depth == 0:
            whole = text.startswith(r"\left(") and bracket.end() + 1 == len(text)
            return text[6:-7] if whole else text
    return text
