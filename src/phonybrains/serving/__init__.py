"""Serving: a model behind OpenAI's protocol for images, and a page to play with it. `app.make_app` puts it together."""
