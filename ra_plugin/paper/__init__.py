"""The paper's tables and figures: their trainings, evaluations and layout."""
