// Seeds and downloads with WebTorrent. Arguments: the folder of npm's modules, the folder of torrents,
// the folder of their data, the port, the DHT node to begin with.
import { readdirSync } from 'node:fs'
import { register } from 'node:module'
import { join } from 'node:path'
import { pathToFileURL } from 'node:url'

// WebRTC needs a library that only its own installer downloads; the classes are never used here.
const names = ['RTCPeerConnection', 'RTCSessionDescription', 'RTCIceCandidate']
const stub = names.map(name => `export class ${name} {}`).join('\n') + '\nexport default {}'
const url = 'data:text/javascript,' + encodeURIComponent(stub)
register('data:text/javascript,' + encodeURIComponent(`
  export const resolve = (name, context, next) =>
    name === 'webrtc-polyfill' ? { shortCircuit: true, url: ${JSON.stringify(url)} } : next(name, context)`))

const [modules, torrents, data, port, node] = process.argv.slice(2)
const { default: WebTorrent } = await import(pathToFileURL(join(modules, 'webtorrent/index.js')))
const client = new WebTorrent({
  torrentPort: Number(port), dhtPort: Number(port), dht: { bootstrap: [node] },
  tracker: false, lsd: false, utPex: false, utp: false, natUpnp: false, natPmp: false
})
client.on('error', error => console.log('error', error))
for (const name of readdirSync(torrents)) {
  client.add(join(torrents, name), { path: data }, torrent => {
    console.log(torrent.infoHash, 'is here at', torrent.progress)
    torrent.on('done', () => console.log(torrent.infoHash, 'is whole'))
  })
}
