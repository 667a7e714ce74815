"""Keys of OpenClaw that are for parts this gateway does not have: accepted without a look, per struct.

Gathered from the configuration schemas of OpenClaw 2026.3 to 2026.9, so that the file of an existing
installation starts this gateway. A key moves from here into its struct when it gets an effect.
"""

from __future__ import annotations

from typing import Final

from msgspec import Struct

from openclaw_twisted.config import settings

__all__ = ["BOOKKEEPING", "INERT"]

BOOKKEEPING: Final = frozenset({"$schema", "meta", "wizard"})
"""Sections that tools write for themselves: nothing is said about them."""


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_AGENT = """
    contextLimits cwd decisionModel embeddedAgent embeddedHarness embeddedPi agentRuntime contextTokens
    experimental fastModeDefault heartbeat humanDelay memorySearch reasoningDefault runRetries sandbox
    skills subagents toolProgressDetail typingMode utilityModel verboseDefault
"""

INERT: Final[dict[type[Struct], frozenset[str]]] = {
    settings.Settings: BOOKKEEPING
    | _names("""
        accessGroups acp approvals attachments audio auth bindings broadcast browser canvasHost channels cli
        cloudWorkers commands commitments crestodian cron desktop diagnostics discovery hooks mcp media memory
        messages multiAgent nodeHost nodes plugins security skills surfaces talk telemetry transcripts
        tts tui ui update web worktreeAcceleration worktreeRoot
    """),
    settings.GatewaySettings: _names("""
        channelHealthCheckMinutes channelMaxRestartsPerHour channelStaleEventThresholdMinutes cliAgents
        handshakeTimeoutMs nodes portals push tailscale terminal tools webchat
    """),
    settings.AuthSettings: _names("allowTailscale"),
    settings.TrustedProxySettings: _names("cloudflareAccessOidc deviceAutoApprove"),
    settings.ControlUiSettings: _names("""
        allowExternalEmbedUrls allowInsecureAuth automaticallyFetchFavicons chatMessageMaxWidth
        communityInvite dangerouslyAllowHostHeaderOriginFallback dangerouslyDisableDeviceAuth embedSandbox
        environment experimental github sessionObserver
    """),
    settings.ResponsesSettings: _names("files"),
    settings.ReloadSettings: _names("debounceMs deferralTimeoutMs"),
    settings.RemoteSettings: _names(
        "edgeAuth enabled remotePort sshHostKeyPolicy sshIdentity sshTarget transport"
    ),
    settings.AgentsSettings: _names("ownership"),
    settings.AgentDefaults: _names(_AGENT)
    | _names("""
        authInheritance blockStreamingBreak blockStreamingChunk blockStreamingCoalesce blockStreamingDefault
        bootstrapPromptTruncationWarning cliBackends compaction contextPruning elevatedDefault
        envelopeElapsed envelopeTimestamp envelopeTimezone imageGenerationModel imageMaxDimensionPx
        imageModel imageQuality mediaGenerationAutoProviderFallback mediaMaxMb mediaModels
        modelSelectionScope musicGenerationModel pdfMaxBytesMb pdfMaxMb pdfMaxPages pdfModel promptOverlays
        repoRoot sessionStore silentReply silentReplyRewrite skipOptionalBootstrapFiles startupContext
        systemAgent timeFormat typingIntervalSeconds videoGenerationModel voiceModel
    """),
    settings.AgentSettings: _names(_AGENT)
    | _names("agentDir groupChat memory runtime skillsLimits tools tts"),
    settings.ModelChoice: _names("timeoutMs"),
    settings.ModelEntry: _names("agentRuntime codeMode pickerRuntimes"),
    settings.ModelsSettings: _names("bedrockDiscovery catalogRefresh pricing"),
    settings.ProviderSettings: _names("""
        agentRuntime auth contextTokens contextWindow injectNumCtxForOpenAICompat localService region
    """),
    settings.ProviderRequestSettings: _names("auth"),
    settings.ProviderProxySettings: _names("tls"),
    settings.ProviderTlsSettings: _names("passphrase"),
    settings.ModelSettings: _names("agentRuntime mediaInput metadataSource thinkingLevelMap"),
    settings.CostSettings: _names("tieredPricing"),
    settings.CompatSettings: _names("""
        cacheControlFormat codeMode nativeWebSearchTool openRouterRouting reasoningEffortMap
        requiresAssistantAfterToolResult requiresOpenAiAnthropicToolPayload
        requiresThinkingAsText requiresToolResultName
        sendSessionAffinityHeaders sendSessionIdHeader strictMessageKeys supportedReasoningEfforts
        supportsEagerToolInputStreaming supportsInstructions supportsJsonSchemaResponseFormat
        supportsLongCacheRetention supportsPromptCacheKey supportsResponsesContinuation supportsTemperature
        thinkingFormat toolCallArgumentsEncoding toolSchemaProfile unsupportedToolSchemaKeywords
        vercelGatewayRouting visibleReasoningDetailTypes zaiToolStream
    """),
    settings.SessionSettings: _names("""
        agentToAgent dmScope groupScope identityLinks mainKey notifyOnCreate parentForkMaxTokens
        resetByChannel resetByType scope sendPolicy sharing store threadBindings typingIntervalSeconds
        typingMode writeLock
    """),
    settings.MaintenanceSettings: _names("""
        archiveDashboardAfter coldStorage preserveRecent rotateBytes
    """),
    settings.ToolsSettings: _names("""
        agentToAgent byProvider codeMode elevated exec experimental fs github links loopDetection media
        message sandbox sessions sessions_spawn subagents swarm toolSearch toolsBySender updatePlan web
    """),
    settings.EnvSettings: _names("shellEnv"),
    settings.LoggingSettings: _names("audit redactPatterns redactSensitive"),
    settings.ProxySettings: _names("loopbackMode tls"),
    settings.SecretsSettings: _names("egressProxy resolution"),
    settings.SecretProviderSettings: _names("""
        allowInsecurePath allowSymlinkCommand allowlist args command env jsonOnly maxBytes maxOutputBytes
        noOutputTimeoutMs passEnv pluginIntegration timeoutMs trustedDirs
    """),
}
