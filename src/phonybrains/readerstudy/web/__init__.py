"""The web server of a reader study: what readers and the investigator see. `app.make_app` puts it together."""
