"""The paper's tables and figures: the trainings and evaluations that they need, and how they are laid out."""
