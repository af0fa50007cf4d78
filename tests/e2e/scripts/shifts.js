// How much the page has jumped since it began to load.
() =>
  new Promise((resolve) => {
    let sum = 0;
    const watch = new PerformanceObserver((list) => {
      for (const shift of list.getEntries()) sum += shift.value;
    });
    watch.observe({ type: 'layout-shift', buffered: true });
    setTimeout(() => resolve(sum), 500);
  });
