"""Programs of the maintainers; none is part of the installed package."""
