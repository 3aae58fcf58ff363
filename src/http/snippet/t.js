// Tributary: keeps a landing page's click id first-party, and sends conversions.
(function (w, d) {
  var s = d.currentScript, token = s.getAttribute('data-token'), domain = s.getAttribute('data-domain');
  var base = s.src.replace(/\/t\.js.*$/, ''), key = 'trb_click', age = 2592000, click;
  function valid(id) { return /^clk_[0-7][0-9a-hjkmnp-tv-z]{25}$/.test(id) && id; }
  function attempt(f) { try { return f(); } catch (e) {} }
  function keep(id) {
    click = id;
    attempt(function () { w.localStorage.setItem(key, id + ' ' + (Date.now() + age * 1e3)); });
    attempt(function () {
      d.cookie = key + '=' + id + ';path=/;max-age=' + age + ';SameSite=Lax' +
        (domain ? ';domain=' + domain : '') + (/^https/.test(w.location) ? ';Secure' : '');
    });
  }
  function kept() {
    return attempt(function () { return valid(d.cookie.split(key + '=')[1].slice(0, 30)); }) ||
      attempt(function () {
        var parts = w.localStorage.getItem(key).split(' ');
        return parts[1] > Date.now() && valid(parts[0]);
      }) || click || null;
  }
  var query = new URLSearchParams(w.location.search);
  ['clickId', 'click_id', 'cid', '_ef_transaction_id'].some(function (name) {
    var id = valid(query.get(name));
    return id && !keep(id);
  });
  w.tributary = {
    clickId: kept,
    convert: function (c) {
      var id = kept(), body = new URLSearchParams({ click_id: id }), url = base + '/postback/' + token;
      if (!id) return false;
      ['goal', 'orderId', 'amount', 'currency'].forEach(function (name) {
        if (c && c[name] != null) body.set(name, c[name]);
      });
      if (attempt(function () { return w.navigator.sendBeacon(url, body); })) return true;
      function image() { new w.Image().src = base + '/pixel/' + token + '?' + body; }
      if (w.fetch) w.fetch(url, { method: 'POST', body: body, keepalive: true, credentials: 'omit' }).catch(image);
      else image();
      return true;
    }
  };
})(window, document);
