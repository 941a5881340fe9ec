"""Images from text-to-image services, behind one small protocol; nothing is paid for twice."""
