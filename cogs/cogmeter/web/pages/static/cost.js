// Dollars by day as stacked bars: the most expensive services at the bottom, the others on top.

import { register } from "./charts.js";

const COLOURS = ["p50", "p99", "healthy", "p95"];
const DAY = 86_400;

register("cost", (answer) => {
  const days = [...new Set(answer.lines.map((one) => one.day))].sort();
  const sums = new Map(); // service -> dollars by day
  for (const one of answer.lines) {
    if (!sums.has(one.service)) sums.set(one.service, new Map());
    const sum = sums.get(one.service);
    sum.set(one.day, (sum.get(one.day) ?? 0) + one.costUsd);
  }
  const total = (sum) => [...sum.values()].reduce((all, each) => all + each, 0);
  const mostExpensive = [...sums].sort((a, b) => total(b[1]) - total(a[1]) || a[0].localeCompare(b[0]));
  const layers = mostExpensive.slice(0, COLOURS.length).map(([service, sum]) => ({ label: service, values: days.map((day) => sum.get(day) ?? 0) }));
  const rest = mostExpensive.slice(COLOURS.length);
  if (rest.length) layers.push({ label: `${rest.length} others`, values: days.map((day) => rest.reduce((all, [, sum]) => all + (sum.get(day) ?? 0), 0)) });
  const height = new Array(days.length).fill(0);
  const series = layers.map((one, number) => ({
    label: one.label,
    shown: one.values,
    values: one.values.map((value, place) => (height[place] += value) || null),
    colour: COLOURS[number] ?? "bars",
    bars: true,
  }));
  const x = days.map((day) => Date.parse(`${day}T00:00:00Z`) / 1000 + DAY / 2);
  return {
    x,
    range: [Math.floor(Date.parse(answer.timeRange.since) / 1000 / DAY) * DAY, Math.ceil(Date.parse(answer.timeRange.until) / 1000 / DAY) * DAY],
    unit: "dollars",
    least: 0.01,
    group: "days",
    days: true,
    step: DAY,
    empty: "No costs recorded in this period.",
    series: series.reverse(), // the highest first; lower ones are drawn over it
  };
});
