"""Results for people to read: tables, charts, sentences, pages."""
