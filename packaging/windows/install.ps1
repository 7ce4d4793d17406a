<#
.SYNOPSIS
Instala o almaplan.exe que está nesta pasta, ou atualiza o que já está instalado.

.DESCRIPTION
Confere o SHA-256, copia o arquivo e acrescenta a pasta ao PATH: para todos, se for executado como administrador; senão só para você.
A versão anterior fica ao lado como almaplan.old.exe. Um almaplan em execução continua com a versão antiga até terminar.

.EXAMPLE
powershell -ExecutionPolicy Bypass -File .\install.ps1

.EXAMPLE
powershell -ExecutionPolicy Bypass -File .\install.ps1 -Sha256 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08
#>
[CmdletBinding()]
param(
    # O executável a instalar.
    [string] $Source = (Join-Path $PSScriptRoot 'almaplan.exe'),
    # O SHA-256 esperado; sem ele vale o do arquivo <Source>.sha256.
    [string] $Sha256,
    # A pasta de destino.
    [string] $Destination
)
Set-StrictMode -Version 2
$ErrorActionPreference = 'Stop'

function Test-Administrator {
    $me = New-Object Security.Principal.WindowsPrincipal([Security.Principal.WindowsIdentity]::GetCurrent())
    $me.IsInRole([Security.Principal.WindowsBuiltInRole]::Administrator)
}

function Get-ExpectedHash {
    if ($Sha256) { return $Sha256.Trim() }
    $beside = "$Source.sha256"
    if (-not (Test-Path -LiteralPath $beside)) {
        throw "Não há $beside com o SHA-256 de $Source. Baixe também esse arquivo, ou informe o valor publicado com -Sha256."
    }
    # Como o sha256sum escreve: o valor, espaços, o nome.
    ((Get-Content -LiteralPath $beside -TotalCount 1) -split '\s+')[0]
}

# As entradas do PATH como estão escritas: [Environment]::GetEnvironmentVariable trocaria %SystemRoot% pelo valor, para sempre.
function Add-ToPath([Microsoft.Win32.RegistryKey] $Key, [string] $Folder) {
    $path = [string] $Key.GetValue('Path', '', [Microsoft.Win32.RegistryValueOptions]::DoNotExpandEnvironmentNames)
    $entries = @($path -split ';' | Where-Object { $_ })
    if ($entries -contains $Folder) { return $false }
    $Key.SetValue('Path', (($entries + $Folder) -join ';'), [Microsoft.Win32.RegistryValueKind]::ExpandString)
    $true
}

$Source = (Resolve-Path -LiteralPath $Source).ProviderPath
$expected = Get-ExpectedHash
$found = (Get-FileHash -LiteralPath $Source -Algorithm SHA256).Hash
if ($found -ne $expected) {
    throw "O SHA-256 de $Source é $found, e devia ser $expected. Nada foi instalado: baixe o arquivo de novo."
}

$forAll = Test-Administrator
if (-not $Destination) {
    $Destination = if ($forAll) { Join-Path $env:ProgramFiles 'almaplan' } else { Join-Path $env:LOCALAPPDATA 'Programs\almaplan' }
}
New-Item -ItemType Directory -Force -Path $Destination | Out-Null
$target = Join-Path $Destination 'almaplan.exe'
$new = Join-Path $Destination 'almaplan.new.exe'
$old = Join-Path $Destination 'almaplan.old.exe'

Copy-Item -LiteralPath $Source -Destination $new -Force
Unblock-File -LiteralPath $new
# Um executável em uso não pode ser substituído, mas pode mudar de nome.
if (Test-Path -LiteralPath $target) {
    if (Test-Path -LiteralPath $old) { Remove-Item -LiteralPath $old -Force }
    Move-Item -LiteralPath $target -Destination $old
}
try {
    Move-Item -LiteralPath $new -Destination $target
} catch {
    if (Test-Path -LiteralPath $old) { Move-Item -LiteralPath $old -Destination $target }
    throw
}
if ((Get-FileHash -LiteralPath $target -Algorithm SHA256).Hash -ne $expected) {
    throw "A cópia em $target não confere. Apague-a e execute de novo."
}

$key = if ($forAll) {
    [Microsoft.Win32.Registry]::LocalMachine.OpenSubKey('SYSTEM\CurrentControlSet\Control\Session Manager\Environment', $true)
} else {
    [Microsoft.Win32.Registry]::CurrentUser.CreateSubKey('Environment')
}
try { $added = Add-ToPath $key $Destination } finally { $key.Close() }
if ($added) {
    # Grava e apaga uma variável qualquer: é o que avisa as janelas abertas de que o ambiente mudou.
    $scope = if ($forAll) { 'Machine' } else { 'User' }
    [Environment]::SetEnvironmentVariable('ALMAPLAN_INSTALLED', '1', $scope)
    [Environment]::SetEnvironmentVariable('ALMAPLAN_INSTALLED', $null, $scope)
}

& $target --version
if ($LASTEXITCODE -ne 0) { throw "$target não executa (código $LASTEXITCODE)." }
"Instalado em $Destination" + $(if ($forAll) { ' para todos.' } else { ' para este usuário.' })
if ($added) { 'A pasta foi acrescentada ao PATH: abra uma janela nova.' }
