"""A small reader of mathematical answers, independent of math-verify: text to tree, tree to values, values compared."""
