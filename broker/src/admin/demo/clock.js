// A worker that ticks: browsers slow the timers of background tabs to one per second, but not those of workers.

let timer;

onmessage = ({ data: interval }) => {
  clearInterval(timer);
  if (interval) timer = setInterval(() => postMessage(null), interval);
};
