"""Server-rendered pages for clients: the form, its answer, and the story of a receipt. They work without script."""

from services.feedback.pages.routes import router

__all__ = ["router"]
