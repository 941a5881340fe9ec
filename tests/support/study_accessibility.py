"""What WCAG 2.2 asks of a page and a program can measure: names, contrast, focus, targets, no sideways scroll."""

from __future__ import annotations

from typing import Any

LOOK = r"""
(touch) => {
  const faults = [];
  const parse = (text) => {
    const [r, g, b, a = 1] = text.match(/[\d.]+/g).map(Number);
    return { r, g, b, a };
  };
  const over = (top, under) => ({
    r: top.r * top.a + under.r * (1 - top.a), g: top.g * top.a + under.g * (1 - top.a),
    b: top.b * top.a + under.b * (1 - top.a), a: 1,
  });
  const ground = (element) => {
    const layers = [];
    for (let at = element; at; at = at.parentElement) layers.push(parse(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, top) => over(top, under), { r: 255, g: 255, b: 255, a: 1 });
  };
  const luminance = ({ r, g, b }) => {
    const part = (c) => ((c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4);
    return 0.2126 * part(r) + 0.7152 * part(g) + 0.0722 * part(b);
  };
  const contrast = (one, other) => {
    const [dark, light] = [luminance(one), luminance(other)].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  };
  const seen = (element) =>
    element.checkVisibility({ checkOpacity: true, checkVisibilityCSS: true }) &&
    element.getBoundingClientRect().width > 1;
  const start = (element) => element.textContent.trim().slice(0, 30);
  const name = (element) => `${element.tagName.toLowerCase()}#${element.id} "${start(element)}"`;

  for (const element of document.body.querySelectorAll("*")) {
    const written = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (written && seen(element) && !element.closest("noscript, script, dialog:not([open])")) {
      const style = getComputedStyle(element);
      const big = parseFloat(style.fontSize) >= 24 || (parseFloat(style.fontSize) >= 18.66 && style.fontWeight >= 700);
      const under = ground(element);
      const ratio = contrast(over(parse(style.color), under), under);
      if (ratio < (big ? 3 : 4.5)) faults.push(`contrast of text ${ratio.toFixed(2)}: ${name(element)}`);
    }
  }
  const controls = "button, input:not([type=hidden]), textarea, select, a[href], [tabindex='0']";
  for (const element of document.querySelectorAll(controls)) {
    const box = element.getBoundingClientRect();
    if (!element.checkVisibility() || element.closest("[inert], dialog:not([open])")) continue;
    const label = element.labels?.[0]?.textContent ?? element.getAttribute("aria-label") ?? element.textContent;
    if (!label.trim()) faults.push(`no name: ${name(element)}`);
    const inline = element.matches("a") && getComputedStyle(element).display === "inline";
    const least = touch ? 44 : 24;
    const size = element.type === "checkbox" ? element.closest("label").getBoundingClientRect() : box;
    const skip = element.matches(".skip");
    if (!inline && !skip && Math.round(Math.min(size.width, size.height)) < least)
      faults.push(`target ${size.width.toFixed(0)}×${size.height.toFixed(0)}: ${name(element)}`);
    if (element.matches("button, textarea, input[type=text]") && !element.matches(".quiet")) {
      const style = getComputedStyle(element);
      const around = ground(element.parentElement);
      const border = over(parse(style.borderTopColor), around);
      const edge = Math.max(contrast(border, around), contrast(ground(element), around));
      if (edge < 3) faults.push(`edge ${edge.toFixed(2)}: ${name(element)}`);
    }
  }
  const ids = [...document.querySelectorAll("[id]")].map((element) => element.id);
  for (const id of new Set(ids)) if (ids.indexOf(id) !== ids.lastIndexOf(id)) faults.push(`two elements with id ${id}`);
  if (!document.documentElement.lang) faults.push("no language");
  if (!document.title.trim()) faults.push("no title");
  if (document.querySelectorAll("h1").length !== 1) faults.push("not one h1");
  if (!document.querySelector("main")) faults.push("no main");
  if (document.documentElement.scrollWidth > innerWidth) faults.push("scrolls sideways");
  return faults;
}
"""

FOCUSED = r"""
() => {
  const element = document.activeElement;
  if (element === document.body) return null;
  const ringed = element.type === "radio" ? element.nextElementSibling : element;
  const style = getComputedStyle(ringed);
  return {
    name: `${element.tagName.toLowerCase()}#${element.id}${element.value ?? ""}`,
    ring: style.outlineStyle === "none" ? 0 : parseFloat(style.outlineWidth),
    inView: ringed.getBoundingClientRect().bottom <= innerHeight + 1 && ringed.getBoundingClientRect().top >= -1,
  };
}
"""


def faults(page: Any, touch: bool = False) -> list[str]:
    """What a page lacks, one sentence each; empty where nothing was found."""
    return page.evaluate(LOOK, touch)


def focus_faults(page: Any, most: int = 60) -> tuple[list[str], list[str]]:
    """Go through a page by the Tab key: the controls met, and those without a ring or out of sight."""
    met, bad = [], []
    for _ in range(most):
        page.keyboard.press("Tab")
        now = page.evaluate(FOCUSED)
        if now is None or now["name"] in met:
            break
        met.append(now["name"])
        if now["ring"] < 2 or not now["inView"]:
            bad.append(f"{now['name']}: ring {now['ring']}, in view {now['inView']}")
    return met, bad
