"""The GraphQL documents we send. Fields and meanings: Fly's published schema."""

RELEASES = """
query($app: String!, $n: Int!) {
  app(name: $app) {
    id
    name
    releases: releasesUnprocessed(first: $n) {
      nodes {
        id version status reason description imageRef createdAt user { email } configDefinition
      }
    }
  }
}
"""

CURRENT = """
query($app: String!) {
  app(name: $app) {
    currentRelease: currentReleaseUnprocessed { id version status imageRef createdAt }
  }
}
"""

IMAGE = """
query($appName: String!, $imageRef: String!) {
  app(name: $appName) {
    id
    image(ref: $imageRef) { id digest ref compressedSize: compressedSizeFull }
  }
}
"""
