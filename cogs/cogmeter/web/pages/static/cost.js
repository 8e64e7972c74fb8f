// Dollars by hour or day as stacked bars: the most expensive groups at the bottom, the others on top.

import { register } from "./charts.js";

const COLOURS = ["p50", "p99", "healthy", "p95"];
const DAY = 86_400;

register("cost", (answer, figure) => {
  const names = JSON.parse(figure.closest("[data-cost-names]")?.dataset.costNames ?? "{}"); // of servers and users
  const step = answer.stepSeconds;
  const starts = [...new Set(answer.steps.map((one) => one.at))].sort();
  const sums = new Map(); // group -> dollars by step
  for (const one of answer.steps) {
    if (!sums.has(one.name)) sums.set(one.name, new Map());
    const sum = sums.get(one.name);
    sum.set(one.at, (sum.get(one.at) ?? 0) + one.costMicroUsd / 1e6);
  }
  const total = (sum) => [...sum.values()].reduce((all, each) => all + each, 0);
  const mostExpensive = [...sums].filter(([, sum]) => total(sum) > 0).sort((a, b) => total(b[1]) - total(a[1]) || a[0].localeCompare(b[0]));
  const named = mostExpensive.filter(([group]) => group !== "(others)");
  const shown = named.slice(0, COLOURS.length);
  const rest = mostExpensive.filter((one) => !shown.includes(one));
  const layers = shown.map(([group, sum]) => ({ label: names[group] ?? group, values: starts.map((at) => sum.get(at) ?? 0) }));
  const others = answer.groupsTotal - shown.length;
  if (rest.length) layers.push({ label: `${others} ${others === 1 ? "other" : "others"}`, values: starts.map((at) => rest.reduce((all, [, sum]) => all + (sum.get(at) ?? 0), 0)) });
  const height = new Array(starts.length).fill(0);
  const series = layers.map((one, number) => ({
    label: one.label,
    shown: one.values,
    values: one.values.map((value, place) => (height[place] += value) || null),
    colour: number < shown.length ? COLOURS[number] : "bars",
    bars: true,
  }));
  const x = starts.map((at) => Date.parse(at) / 1000 + step / 2);
  return {
    x,
    range: [Math.floor(Date.parse(answer.timeRange.since) / 1000 / step) * step, Math.ceil(Date.parse(answer.timeRange.until) / 1000 / step) * step],
    unit: "dollars",
    least: 0.01,
    group: step === DAY ? "days" : "hours",
    days: step === DAY,
    step,
    empty: "No costs recorded in this period.",
    series: series.reverse(), // the highest first; lower ones are drawn over it
  };
});
