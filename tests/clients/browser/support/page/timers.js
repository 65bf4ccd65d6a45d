// In the page: the part of Node's module of this name that time.js needs.

export function setTimeout(milliseconds, value, { signal } = {}) {
  return new Promise((resolve, reject) => {
    const timer = window.setTimeout(resolve, milliseconds, value);
    signal?.addEventListener('abort', () => {
      window.clearTimeout(timer);
      reject(signal.reason);
    });
  });
}
