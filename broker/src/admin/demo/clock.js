// A worker that ticks: a tab in the background has timers that go once a second, its workers do not.

let timer;

onmessage = ({ data: interval }) => {
  clearInterval(timer);
  if (interval) timer = setInterval(() => postMessage(null), interval);
};
