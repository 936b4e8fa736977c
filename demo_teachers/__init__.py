"""How the demo teachers of `gsn.teachers.demo` are trained and measured; not installed."""
